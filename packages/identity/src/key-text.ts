import { hash } from 'node:crypto';
import { base32, isId, newId, type RandomBytes, Secret } from '@holdfast/core';

/**
 * The text of a key: `hf_<26 characters>_<32 characters>`. The first part is the id of the key without its prefix, by
 * which it is looked up; the second is the secret, 160 random bits, of which only a hash is stored.
 */
export interface KeyText {
  readonly id: string;
  readonly secret: string;
}

const secretBytes = 20;
const form = /^hf_([0-9a-z]{26})_([0-9a-z]{32})$/;

/** Parses what a caller sent; null when it cannot be a key. */
export const parseKey = (text: string): KeyText | null => {
  if (text.length > 64) return null;
  const match = form.exec(text);
  const id = `key_${match?.[1] ?? ''}`;
  const secret = match?.[2];
  return secret !== undefined && isId('key', id) ? { id, secret } : null;
};

export const hashSecret = (secret: string): Buffer => hash('sha256', secret, 'buffer');

export const newKey = (random: RandomBytes): { id: string; text: Secret; hash: Buffer } => {
  const id = newId('key', undefined, random);
  const secret = base32(random(secretBytes));
  return { id, text: new Secret(`hf_${id.slice(4)}_${secret}`), hash: hashSecret(secret) };
};

/** Enough to recognise a key by, and nothing secret. */
export const keyHint = (id: string): string => `hf_${id.slice(4)}_…`;
