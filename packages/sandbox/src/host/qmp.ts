import { connect, type Socket } from 'node:net';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';

/** Longest line taken from QEMU; its process counts as hostile. */
const maxLineBytes = 1_048_576;

const message = z.union([
  z.object({ QMP: z.unknown() }),
  z.object({ return: z.unknown(), id: z.number().optional() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }), id: z.number().optional() }),
  z.object({ event: z.string(), data: z.record(z.string(), z.unknown()).optional() }),
]);

type Answer = Extract<z.output<typeof message>, { return: unknown } | { error: unknown }>;

export type QmpListener = (event: string, data: Readonly<Record<string, unknown>>) => void;

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: HoldfastError) => void;
}

/** QEMU Machine Protocol over a unix socket; see docs/interop/qmp-spec in QEMU's source. */
export class Qmp {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<QmpListener>();
  readonly #greeting = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  #nextId = 1;
  #buffer = '';
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#end());
    this.#greeting.promise.catch(() => undefined);
  }

  /** Connects and negotiates. Rejects with `sandbox.machine_lost` when QEMU is not there. */
  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(connect(path));
    await qmp.#greeting.promise;
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** Resolves when the connection is gone, which for QEMU means that the process is. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#ended) return Promise.reject(lost(command));
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { command, resolve, reject });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    return promise;
  }

  on(listener: QmpListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#buffer += text;
    for (let end = this.#buffer.indexOf('\n'); end >= 0; end = this.#buffer.indexOf('\n')) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 1);
      if (line.trim() !== '') this.#dispatch(line);
    }
    if (this.#buffer.length > maxLineBytes) this.#socket.destroy();
  }

  #dispatch(line: string): void {
    const parsed = parse(line);
    if (parsed === null) this.#socket.destroy();
    else if ('QMP' in parsed) this.#greeting.resolve();
    else if ('event' in parsed) {
      for (const listener of this.#listeners) listener(parsed.event, parsed.data ?? {});
    } else this.#answer(parsed);
  }

  #answer(parsed: Answer): void {
    const pending = parsed.id === undefined ? undefined : this.#pending.get(parsed.id);
    if (pending === undefined || parsed.id === undefined) return;
    this.#pending.delete(parsed.id);
    if ('error' in parsed) {
      pending.reject(
        new HoldfastError(
          'sandbox.machine_failed',
          `QEMU refused ${pending.command}: ${parsed.error.desc.slice(0, 500)}`,
        ),
      );
    } else pending.resolve(parsed.return);
  }

  #end(): void {
    this.#ended = true;
    this.#greeting.reject(lost('connect'));
    for (const pending of this.#pending.values()) pending.reject(lost(pending.command));
    this.#pending.clear();
    this.#closed.resolve();
  }
}

function parse(line: string): z.output<typeof message> | null {
  try {
    return message.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

const lost = (command: string) =>
  new HoldfastError('sandbox.machine_lost', `The machine ended before it answered ${command}.`);
