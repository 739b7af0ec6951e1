import { type RandomBytes, systemRandom } from './ids.ts';

/** Position in a distributed trace, as the W3C header `traceparent` carries it. */
export interface TraceContext {
  /** 32 hex digits, not all zero. */
  readonly traceId: string;
  /** 16 hex digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const hexOfByte = Array.from({ length: 256 }, (_, b) => b.toString(16).padStart(2, '0'));

const hex = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += hexOfByte[byte];
  return text;
};

const newHex = (length: number, random: RandomBytes): string => {
  for (;;) {
    const text = hex(random(length));
    // All zeros means "invalid" in the specification.
    if (!/^0+$/.test(text)) return text;
  }
};

export const newTraceId = (random: RandomBytes = systemRandom): string => newHex(16, random);
export const newSpanId = (random: RandomBytes = systemRandom): string => newHex(8, random);

export const isTraceId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text) && !/^0+$/.test(text);
export const isSpanId = (text: string): boolean => /^[0-9a-f]{16}$/.test(text) && !/^0+$/.test(text);

/** https://www.w3.org/TR/trace-context/#traceparent-header; null when it is not valid, as that text demands. */
export const parseTraceparent = (header: string): TraceContext | null => {
  if (header.length > 512) return null;
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header.trim());
  if (match === null) return null;
  const [, version = '', traceId = '', spanId = '', flags = '', more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (!isTraceId(traceId) || !isSpanId(spanId)) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
};

export const formatTraceparent = (context: TraceContext): string =>
  `00-${context.traceId}-${context.spanId}-${context.sampled ? '01' : '00'}`;
