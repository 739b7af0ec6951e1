import { z } from 'zod';
import type { Channel } from './channel.ts';

const shellExit = z.object({ exitCode: z.number().nullable(), signal: z.string().nullable() });
export type ShellExit = z.output<typeof shellExit>;

const exitOf = (text: string): ShellExit | null => {
  try {
    const parsed = shellExit.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
};

/** A terminal in a sandbox. */
export class Shell implements AsyncDisposable {
  /** The shell's end, null when the connection ended first. Resolves once `output` was read to its end. */
  readonly exit: Promise<ShellExit | null>;
  readonly #channel: Channel;
  #settle: (exit: ShellExit | null) => void = () => undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.exit = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** What the terminal prints, until the shell ends. It must be read: unread output stops the shell. */
  async *output(): AsyncGenerator<Uint8Array> {
    try {
      for await (const message of this.#channel.messages()) {
        if (message.kind === 'bytes') {
          yield message.data;
          continue;
        }
        const exit = exitOf(message.text);
        if (exit !== null) {
          this.#settle(exit);
          return;
        }
      }
    } finally {
      this.#settle(null);
    }
  }

  /** Sends what was typed. */
  write(data: string | Uint8Array): Promise<void> {
    return this.#channel.send(typeof data === 'string' ? new TextEncoder().encode(data) : data);
  }

  resize(size: { readonly rows: number; readonly cols: number }): Promise<void> {
    return this.#channel.send(JSON.stringify({ rows: size.rows, cols: size.cols }));
  }

  close(): void {
    this.#channel.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#channel[Symbol.asyncDispose]();
  }
}
