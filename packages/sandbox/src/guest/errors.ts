import { type ErrorCode, HoldfastError } from '@holdfast/core';
import { guestLimits } from './limits.ts';
import { Tag } from './tags.ts';
import type { Fields } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

const codes: Readonly<Record<string, ErrorCode>> = {
  unknown_op: 'guest.unknown_op',
  bad_request: 'guest.bad_request',
  too_many_streams: 'guest.too_many_streams',
  invalid_path: 'guest.invalid_path',
  not_found: 'guest.not_found',
  exists: 'guest.exists',
  not_a_directory: 'guest.not_a_directory',
  is_a_directory: 'guest.is_a_directory',
  not_empty: 'guest.not_empty',
  permission_denied: 'guest.permission_denied',
  not_executable: 'guest.not_executable',
  no_space: 'guest.no_space',
  too_large: 'guest.too_large',
  user_not_found: 'guest.user_not_found',
  cwd_not_found: 'guest.cwd_not_found',
  name_taken: 'guest.name_taken',
  process_not_found: 'guest.process_not_found',
  too_many_processes: 'guest.too_many_processes',
  connection_refused: 'guest.connection_refused',
  address_in_use: 'guest.address_in_use',
  watch_overflow: 'guest.watch_overflow',
  busy: 'guest.busy',
  cancelled: 'guest.cancelled',
  io_error: 'guest.io_error',
  version_mismatch: 'guest.version_mismatch',
};

/**
 * The error that an ERROR frame stands for. The guest's text is shown to people and written to logs, so control
 * characters (terminal escapes, line breaks) are replaced.
 */
export function guestError(fields: Fields): HoldfastError {
  const name = fields.requireText(Tag.code, 64);
  const code = Object.hasOwn(codes, name) ? codes[name] : undefined;
  if (code === undefined) throw new ProtocolViolation('ERROR with a code that does not exist');
  const text = printable(fields.text(Tag.message, guestLimits.maxMessageBytes) ?? '');
  const errno = fields.number(Tag.errno);
  return new HoldfastError(code, text === '' ? undefined : text, errno === null ? {} : { errno });
}

export const violationError = (detail: string): HoldfastError =>
  new HoldfastError('guest.protocol_error', `The guest violated the protocol: ${detail}.`);

export const disconnectedError = (detail: string): HoldfastError =>
  new HoldfastError('guest.disconnected', `The connection to the guest is closed: ${detail}.`);

export const stdinClosedError = (): HoldfastError => new HoldfastError('guest.stdin_closed');

/** Keeps a rejection that nobody awaits from ending the process; whoever awaits still gets it. */
export function markHandled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?');
}
