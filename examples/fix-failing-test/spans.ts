import { type Client, formatTraceparent, newSpanId, newTraceId, type SpanInput } from '@holdfast/sdk';

/** A span that is under way. What is sent on its behalf carries `traceparent`, and so becomes its child. */
export interface OpenSpan {
  readonly id: string;
  readonly traceparent: string;
  readonly attributes: Record<string, string | number | boolean | null>;
}

export interface SpanPlace {
  readonly kind: SpanInput['kind'];
  readonly name: string;
  /** Null for the root of the trace. */
  readonly parent: OpenSpan | null;
}

const maxNameLength = 120;
const maxPending = 400;

const now = (): number => performance.timeOrigin + performance.now();

/** Collects the spans of one trace and reports them to the server. */
export class SpanReporter {
  readonly traceId = newTraceId();
  /** Spans that the server has taken. */
  reported = 0;
  readonly #client: Pick<Client, 'postSpans'>;
  #pending: SpanInput[] = [];

  constructor(client: Pick<Client, 'postSpans'>) {
    this.#client = client;
  }

  /** Runs `work` within a new span. The span ends with it, as an error when it throws. */
  async within<T>({ kind, name, parent }: SpanPlace, work: (span: OpenSpan) => Promise<T>): Promise<T> {
    const id = newSpanId();
    const traceparent = formatTraceparent({ traceId: this.traceId, spanId: id, sampled: true });
    const span: OpenSpan = { id, traceparent, attributes: {} };
    const startMs = now();
    const end = (status: 'ok' | 'error', statusMessage: string | null) => {
      this.#pending.push({
        traceId: this.traceId,
        spanId: id,
        parentSpanId: parent?.id ?? null,
        kind,
        name: name.slice(0, maxNameLength),
        startMs,
        endMs: now(),
        status,
        statusMessage,
        attributes: span.attributes,
        inputTokens: null,
        outputTokens: null,
        costMicroUsd: null,
      });
    };
    try {
      const result = await work(span);
      end('ok', null);
      return result;
    } catch (error) {
      end('error', error instanceof Error ? error.message.slice(0, 1000) : 'failed');
      throw error;
    } finally {
      if (this.#pending.length >= maxPending) await this.flush();
    }
  }

  async flush(): Promise<void> {
    const spans = this.#pending;
    this.#pending = [];
    if (spans.length === 0) return;
    const { accepted } = await this.#client.postSpans({ body: { spans } });
    this.reported += accepted;
  }
}
