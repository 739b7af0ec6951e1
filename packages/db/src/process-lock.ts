import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { type Clock, HoldfastError } from '@holdfast/core';

/**
 * A lock on a folder that cannot outlive its holder: an abstract unix socket, which the kernel removes with the
 * process however that ends, so there is no stale lock to judge. It holds between processes of one machine.
 */
export interface ProcessLock {
  release(): Promise<void>;
}

/** Abstract names are limited to 107 bytes and any local user may bind one, so the name carries a hash. */
const addressOf = async (folder: string, purpose: string): Promise<string> => {
  const hash = createHash('sha256')
    .update(await realpath(folder))
    .digest('hex');
  return `\0holdfast-${purpose}-${hash.slice(0, 40)}`;
};

const listen = (address: string): Promise<Server | null> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });

/** Takes the lock of that purpose on the folder, or returns null when somebody else holds it. */
export const tryLock = async (folder: string, purpose: string): Promise<ProcessLock | null> => {
  const server = await listen(await addressOf(folder, purpose));
  if (server === null) return null;
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
};

/** Runs `work` while holding the lock; waits for its holder at most `waitMs`. */
export const withLock = async <T>(
  o: { folder: string; purpose: string; waitMs: number; clock: Clock },
  work: () => Promise<T>,
): Promise<T> => {
  const deadline = o.clock.monotonic() + o.waitMs;
  for (;;) {
    const lock = await tryLock(o.folder, o.purpose);
    if (lock !== null) {
      try {
        return await work();
      } finally {
        await lock.release();
      }
    }
    if (o.clock.monotonic() > deadline)
      throw new HoldfastError('database.start_failed', 'Another process has held the start lock for too long.', {
        folder: o.folder,
      });
    await o.clock.sleep(25);
  }
};
