import type { StoredAnswer } from '../caches/cache.ts';

/** Where a call's answer goes: to a caller over HTTP, or to the gateway itself. */
export interface AnswerSink {
  /** The head is on its way: from here on only the body can tell of a failure. */
  readonly begun: boolean;
  /** Keeps what is written from here on, as long as it is not too long. */
  keepCopy(): void;
  copy(): Omit<StoredAnswer, 'usage'> | null;
  whole(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array | string): void;
  begin(status: number, headers: Readonly<Record<string, string>>, streamed: boolean): void;
  /** Null when there is room for more at once; else a promise for that. */
  write(chunk: Uint8Array | string): Promise<void> | null;
  end(): void;
  breakOff(): void;
}

/** Keeps a whole answer for the gateway itself. */
export class MemoryAnswer implements AnswerSink {
  status = 0;
  body: Uint8Array = new Uint8Array(0);

  get begun(): boolean {
    return this.status !== 0;
  }

  keepCopy(): void {}

  copy(): null {
    return null;
  }

  whole(status: number, _headers: Readonly<Record<string, string>>, body: Uint8Array | string): void {
    this.status = status;
    this.body = typeof body === 'string' ? Buffer.from(body) : body;
  }

  begin(status: number): void {
    this.status = status;
  }

  write(): null {
    return null;
  }

  end(): void {}

  breakOff(): void {}
}
