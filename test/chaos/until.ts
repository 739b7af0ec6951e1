const boundMs = 90_000;
const pauseMs = 25;

/** Waits until `look` gives something else than null, and gives that. Fails when that does not happen within the bound. */
export async function until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** Waits until `offences` finds none; fails with what is left of them. */
export async function untilNone(what: string, offences: () => Promise<readonly string[]>): Promise<void> {
  let last: readonly string[] = [];
  await until(what, async () => {
    last = await offences();
    return last.length === 0 ? true : null;
  }).catch((cause: unknown) => {
    throw new Error(`${what}:\n${last.join('\n')}`, { cause });
  });
}
