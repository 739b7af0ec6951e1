import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log, TraceContext } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';

/** One authenticated request on its way through a handler. */
export interface Exchange {
  readonly requestId: string;
  readonly principal: Principal;
  readonly incoming: IncomingMessage;
  /** Decoded, not yet validated. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Aborts when the client has gone or the server gives up waiting for the end of the request. */
  readonly signal: AbortSignal;
  /** Where the client says that this belongs in a trace. */
  readonly trace: TraceContext | null;
  readonly log: Log;
}

/** An exchange that is answered over HTTP. */
export interface HttpExchange extends Exchange {
  readonly outgoing: ServerResponse;
}
