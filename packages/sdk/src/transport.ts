import type { BytesBody } from './route-call.ts';

export interface WireRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: BytesBody | null;
  readonly signal: AbortSignal | null;
}

/** The part of a `Response` that the client reads. Leaving the body's loop early closes the connection. */
export interface WireAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}

export type Transport = (request: WireRequest) => Promise<WireAnswer>;

async function* chunks(body: BytesBody): AsyncGenerator<Uint8Array> {
  if (typeof body === 'string') yield new TextEncoder().encode(body);
  else if (body instanceof Uint8Array) yield body;
  else yield* body;
}

const readableOf = (body: BytesBody): ReadableStream<Uint8Array> => {
  const source = chunks(body);
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await source.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    cancel: async () => {
      await source.return(undefined);
    },
  });
};

/** Sends through a `fetch`: for browsers, for tests that call a handler directly, and for a caller's own proxying. */
export const fetchTransport =
  (fetch: (request: Request) => Promise<Response>): Transport =>
  ({ url, method, headers, body, signal }) =>
    fetch(
      new Request(url, {
        method,
        headers: { ...headers },
        signal,
        redirect: 'error',
        ...(body === null
          ? {}
          : typeof body === 'string'
            ? { body }
            : { body: readableOf(body), duplex: 'half' as const }),
      }),
    );
