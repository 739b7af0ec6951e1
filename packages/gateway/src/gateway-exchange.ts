import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TraceContext } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';

/** One authenticated HTTP request to a door; the gateway reads the body and writes the whole answer by itself. */
export interface GatewayExchange {
  readonly requestId: string;
  readonly principal: Principal;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** Decoded parameters of the path, such as Gemini's model. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Where the caller says that this belongs in a trace. */
  readonly trace: TraceContext | null;
  /** Aborts when the caller has gone, or the server gives up waiting for the end of the request. */
  readonly signal: AbortSignal;
}
