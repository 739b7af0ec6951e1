import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { messageOf } from './provider-failure.ts';

const embeddings = z.looseObject({
  data: z.array(z.looseObject({ embedding: z.array(z.number()).min(1).max(16_384) })).min(1),
});

/** The vector of the only text of an answer in OpenAI's format. Errors: `gateway.provider_failed`. */
export const embeddingOf = (status: number, body: Uint8Array): Float32Array => {
  const failed = (why: string): HoldfastError =>
    new HoldfastError('gateway.provider_failed', `A text could not be embedded: ${why}.`, { status });
  if (status !== 200) throw failed(messageOf(body) ?? `status ${status}`);
  try {
    const [first] = embeddings.parse(JSON.parse(Buffer.from(body).toString())).data;
    return Float32Array.from(first?.embedding ?? []);
  } catch {
    throw failed('the answer holds no vector');
  }
};
