/** Limits of the guest protocol (guest/protocol.md) and of what this side keeps for a guest that it does not trust. */
export const guestLimits = {
  headerBytes: 12,
  maxPayloadBytes: 65_536,
  /** Credit that each channel of each direction starts with. */
  windowBytes: 262_144,
  /** Credit is returned in portions of this size: few frames, and the sender still has three quarters to go on. */
  creditPortionBytes: 65_536,
  maxCreditBytes: 16_777_216,
  maxStreams: 1_024,
  /** Of those, how many the guest may hold open itself. */
  maxGuestStreams: 256,
  maxListeners: 64,
  /** Bytes skipped while looking for the answer to HELLO. */
  maxHelloSkipBytes: 4 * 1024 * 1024,
  /** A take-over starts with this many zero bytes: they complete any half frame. */
  takeoverZeroBytes: 65_548,
  /** What may wait for a guest that does not read: then it gets no new requests. */
  maxSendBacklogBytes: 8 * 1024 * 1024,
  /** On top of that, what the guest itself may provoke before the connection is given up. */
  maxProvokedBytes: 1024 * 1024,
  maxWatchEvents: 4_096,
  maxWatchTextBytes: 1_048_576,
  maxPathBytes: 4_096,
  maxProcessRecords: 256,
  maxListRecords: 1_000,
  maxArguments: 1_024,
  maxFeatures: 64,
  maxMessageBytes: 1_024,
} as const;
