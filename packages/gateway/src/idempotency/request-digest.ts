import { digestOf } from '../caches/canonical-json.ts';

/** What an idempotency key stands for: the path and the exact bytes of a body. */
export const requestDigest = (path: string, body: string | Uint8Array): Buffer => digestOf(path, body);
