const boundMs = 120_000;
const pauseMs = 20;

/** Asks until the answer is something, and gives it; fails after two minutes, naming what was waited for. */
export const until = async <T>(what: string, ask: () => T | null | false | Promise<T | null | false>): Promise<T> => {
  const deadline = performance.now() + boundMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
};

/** Reads a stream of bytes as text until it holds `wanted`, and gives all that was read. */
export const readUntil = async (stream: AsyncIterator<Uint8Array>, wanted: string | RegExp): Promise<string> => {
  let text = '';
  while (typeof wanted === 'string' ? !text.includes(wanted) : !wanted.test(text)) {
    const { done, value } = await stream.next();
    if (done === true) throw new Error(`the stream ended without ${wanted}: ${text.slice(-500)}`);
    text += Buffer.from(value).toString();
  }
  return text;
};
