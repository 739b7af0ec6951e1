/** Calls `cancel` when the signal aborts while `work` runs, also when it had aborted before. */
export const cancelOnAbort = async <T>(signal: AbortSignal, cancel: () => void, work: () => Promise<T>): Promise<T> => {
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', cancel);
  }
};
