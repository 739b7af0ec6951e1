import { Pool } from 'undici';
import { Samples } from '../measure/samples.ts';

export interface Shot {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  readonly seconds: number;
  /** Milliseconds from the request to the last byte of its answer. */
  readonly times: Samples;
}

/** Sends requests over kept connections, always `concurrency` at a time, until `count` are answered. */
export const load = async (origin: string, shot: Shot, count: number, concurrency: number): Promise<LoadResult> => {
  const pool = new Pool(origin, { connections: concurrency, headersTimeout: 60_000, bodyTimeout: 60_000 });
  const times = new Samples();
  let left = count;
  let errors = 0;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await times.time(async () => {
        try {
          const { path, headers, body } = shot;
          const answer = await pool.request({ path, method: 'POST', headers, body });
          let bytes = 0;
          for await (const chunk of answer.body) bytes += chunk.length;
          if (answer.statusCode !== 200 || bytes < 500) errors += 1;
        } catch {
          errors += 1;
        }
      });
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const seconds = (performance.now() - began) / 1_000;
  await pool.close();
  return { requests: count, errors, seconds, times };
};
