import { HoldfastError } from '@holdfast/core';

/** Each waits some seconds for a database that is away: some ten minutes in all. */
const mostAttempts = 40;

/**
 * Does a change again when the answer to it was lost with the connection. The change must be the same when it is done twice. What would
 * have to be undone without it (a guest that goes on, files that are removed) must not begin before it is known to be there.
 */
export async function persist<T>(change: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await change();
    } catch (error) {
      if (!isUnreachable(error) || attempt === mostAttempts) throw error;
    }
  }
}

/** The statement under way may have happened, or not. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof HoldfastError && error.code === 'database.unreachable';
