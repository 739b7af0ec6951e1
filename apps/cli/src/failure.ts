import { inspect } from 'node:util';
import { printable, problemOf } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';

/** Exit codes: 1 for every error, 2 for a command line that is not valid. */
export const exitCodeOf = (error: HoldfastError): number => (error.code === 'cli.usage' ? 2 : 1);

/** Any thrown value as an error with a code. */
export const errorOf = (thrown: unknown): HoldfastError =>
  thrown instanceof HoldfastError
    ? thrown
    : new HoldfastError(
        'internal.unexpected',
        thrown instanceof Error ? thrown.message : String(thrown),
        {},
        { cause: thrown },
      );

const requestIdOf = (error: HoldfastError): string | null => {
  const { requestId } = error.details;
  return typeof requestId === 'string' ? requestId : null;
};

/** `error code: message`, a help line, and the fields that were wrong; the stack only when asked for. */
const linesOf = (error: HoldfastError, debug: boolean): string => {
  const requestId = requestIdOf(error);
  const issues = Array.isArray(error.details['issues']) ? error.details['issues'].slice(0, 8) : [];
  const lines = [
    `error ${error.code}: ${printable(error.message)}`,
    ...issues.map((issue) => `  ${printable(typeof issue === 'string' ? issue : JSON.stringify(issue))}`),
    `help: ${printable(error.kind.help)}${requestId === null ? '' : ` (request ${printable(requestId)})`}`,
  ];
  if (debug) lines.push(inspect(error, { depth: 6 }));
  return `${lines.join('\n')}\n`;
};

/** The error as it goes to stderr: lines for people, or the problem document. */
export const renderFailure = (error: HoldfastError, options: { json: boolean; debug: boolean }): string =>
  options.json ? `${JSON.stringify(problemOf(error, requestIdOf(error)))}\n` : linesOf(error, options.debug);
