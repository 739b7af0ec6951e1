import { errorOfProblem, openAiError, problem } from '@holdfast/contract';
import { type ErrorCode, type ErrorDetails, HoldfastError } from '@holdfast/core';
import type { WireAnswer } from './transport.ts';

/** Most bytes of an error answer that are read. */
const maxProblemBytes = 1_048_576;

const codeOfStatus = (status: number): ErrorCode => {
  if (status === 401) return 'auth.invalid';
  if (status === 403) return 'auth.forbidden';
  if (status === 404) return 'request.not_found';
  if (status === 413) return 'request.too_large';
  if (status >= 400 && status < 500) return 'request.invalid';
  return 'internal.unexpected';
};

/** An error by its code alone; one that this version does not know becomes `internal.unexpected` with it in `details`. */
export const errorOfCode = (code: string, message: string, details: ErrorDetails, status = 500): HoldfastError =>
  errorOfProblem({
    type: `urn:holdfast:error:${code}`,
    title: message,
    status,
    detail: message,
    code,
    help: '',
    retryable: false,
    details: { ...details },
    requestId: null,
  });

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

/**
 * The error that an answer's text describes: the server's problem details, or OpenAI's envelope, or, from something else
 * in between such as a proxy, one made of the status alone. A code of a newer server becomes `internal.unexpected` with
 * the original in `details.code`.
 */
export const errorOfText = (status: number, text: string): HoldfastError => {
  const document = parseJson(text);
  const asProblem = problem.safeParse(document);
  if (asProblem.success) return errorOfProblem(asProblem.data);
  const asOpenAi = openAiError.safeParse(document);
  if (asOpenAi.success) {
    const { message, code, details } = asOpenAi.data.error;
    return errorOfCode(code, message, details, status);
  }
  return new HoldfastError(codeOfStatus(status), `The server answered ${status} without saying why.`, {
    status,
    body: text.slice(0, 500),
  });
};

export const readText = async (body: AsyncIterable<Uint8Array> | null, maxBytes: number): Promise<string> => {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new HoldfastError('server.answer_invalid', `The answer is longer than ${maxBytes} bytes.`, { maxBytes });
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
};

export const errorOfAnswer = async (answer: WireAnswer): Promise<HoldfastError> =>
  errorOfText(answer.status, await readText(answer.body, maxProblemBytes));

const codeIn = (cause: unknown): string | null => {
  if (typeof cause !== 'object' || cause === null) return null;
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  return 'cause' in cause ? codeIn(cause.cause) : null;
};

/** What a failed exchange is to the caller: its own abort, an error that already has a code, or a server out of reach. */
export const errorOfExchange = (cause: unknown, url: string, signal: AbortSignal | null): unknown => {
  if (signal?.aborted === true) return signal.reason;
  if (cause instanceof HoldfastError) return cause;
  const code = codeIn(cause);
  const reason = code ?? (cause instanceof Error ? cause.message : String(cause));
  const { origin } = new URL(url);
  const text =
    code === 'ECONNREFUSED'
      ? `No Holdfast server listens at ${origin}.`
      : `The connection to ${origin} failed (${reason}).`;
  return new HoldfastError('server.unreachable', text, { url: origin, reason }, { cause });
};
