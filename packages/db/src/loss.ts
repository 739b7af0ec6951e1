import { HoldfastError } from '@holdfast/core';

const lossCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  // PostgreSQL: shutting down, crashed, starting up, too many connections.
  '57P01',
  '57P02',
  '57P03',
  '53300',
]);

const lossMessages =
  /^(Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|timeout expired|The server does not support SSL)/;

/** True for errors that mean "the database is not there", as against "the statement is wrong". */
export const isConnectionLoss = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError && error.errors.some(isConnectionLoss)) return true;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return lossCodes.has(code) || code.startsWith('08') || lossMessages.test(error.message);
};

/** `database.unreachable` for a lost connection, anything else as it is. A write that was under way may have happened. */
export const databaseError = (error: unknown): unknown =>
  isConnectionLoss(error) && error instanceof Error
    ? new HoldfastError('database.unreachable', undefined, { reason: error.message.slice(0, 200) }, { cause: error })
    : error;
