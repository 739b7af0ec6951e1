/** The guest broke the protocol. It ends the connection; callers see `guest.protocol_error`. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}
