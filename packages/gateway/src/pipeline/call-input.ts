import type { IncomingHttpHeaders } from 'node:http';
import type { TraceContext } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';
import type { AnswerSink } from '../doors/answer-sink.ts';
import type { ModelRequest } from '../doors/model-request.ts';
import type { PriceTable } from '../prices/price-table.ts';
import type { ResolvedModel } from '../routing/model-table.ts';

/** One call as it came, its model found. */
export interface CallInput {
  readonly requestId: string;
  readonly principal: Principal;
  readonly headers: IncomingHttpHeaders;
  readonly trace: TraceContext | null;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
  readonly request: ModelRequest;
  readonly resolved: ResolvedModel;
  readonly prices: PriceTable;
  readonly sink: AnswerSink;
  /** Gemini streams as a JSON list unless its caller asks for events. */
  readonly asJsonList: boolean;
}
