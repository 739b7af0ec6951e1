import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { RamShim } from '../../src/ram/index.ts';

const qemu = 'qemu-system-x86_64';
const sandboxOptions = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

export interface QemuOptions {
  /** For sockets and what QEMU writes; made here. */
  readonly folder: string;
  readonly ram: string;
  readonly memoryMib: number;
  readonly shimFile: string;
  /** The RAM backend is made later, through QMP. */
  readonly preconfig?: boolean;
  /** Runs as this user, without any privilege; needs root. */
  readonly uid?: number;
  /** Whether the shim opens the RAM file read-only; on unless told. */
  readonly readOnly?: boolean;
}

/** Reads one connection piece by piece. */
class Conversation {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<string>;
  #held = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket.setEncoding('latin1')[Symbol.asyncIterator]();
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** The next piece that matches, which must have a group 1. */
  async next(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#held);
      if (match?.[1] !== undefined) {
        this.#held = this.#held.slice(match.index + match[0].length);
        return match[1];
      }
      const chunk = await this.#chunks.next();
      if (chunk.done === true) throw new Error(`the connection ended with: ${this.#held}`);
      this.#held += chunk.value;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

async function connected(path: string): Promise<Conversation> {
  const socket = connect(path);
  await once(socket, 'connect');
  return new Conversation(socket);
}

/** A stock QEMU with the shim loaded, stopped, waiting for incoming state; there is no guest in it. */
export class QemuMachine {
  readonly shim: RamShim;
  readonly pid: number;
  readonly #qmp: Conversation;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(shim: RamShim, qmp: Conversation, folder: string, child: ChildProcess) {
    this.shim = shim;
    this.pid = child.pid ?? 0;
    this.#qmp = qmp;
    this.#folder = folder;
    this.#child = child;
  }

  /** Throws with QEMU's own words when it ends instead. */
  static async start(o: QemuOptions): Promise<QemuMachine> {
    await mkdir(o.folder);
    // Its user may be another than ours.
    await chmod(o.folder, 0o777);
    const child = spawnQemu(o);
    let words = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      words += chunk.toString();
    });
    const closed = once(child, 'close');
    try {
      const qmp = await untilThere(() => connected(join(o.folder, 'qmp')), child);
      await qmp.next(/(\{"QMP".*)\r?\n/);
      const shim = await RamShim.connect(join(o.folder, 'shim'), { timeoutMs: 60_000 });
      const machine = new QemuMachine(shim, qmp, o.folder, child);
      await machine.qmp('qmp_capabilities');
      return machine;
    } catch (error) {
      // QEMU opens its sockets before its RAM, so the connection can be made and then break: its own words say why.
      child.kill('SIGKILL');
      await closed;
      throw new Error(`QEMU did not start: ${words}`, { cause: error });
    }
  }

  async qmp(command: string, values: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.#qmp.send(`${JSON.stringify({ execute: command, arguments: values })}\n`);
    const answer = await this.#qmp.next(/(\{"(?:return|error)".*)\r?\n/);
    if (!answer.startsWith('{"return"')) throw new Error(answer);
  }

  /** Reads guest memory as the guest would see it. */
  async readMemory(address: number, length: number): Promise<Buffer> {
    const file = join(this.#folder, 'memory');
    await this.qmp('pmemsave', { val: address, size: length, filename: file });
    return readFile(file);
  }

  /** Writes guest memory through QEMU's debugger port. */
  async writeMemory(address: number, content: Buffer): Promise<void> {
    const gdb = await connected(join(this.#folder, 'gdb'));
    await gdbCommand(gdb, 'Qqemu.PhyMemMode:1');
    for (let at = 0; at < content.length; at += 1024) {
      const part = content.subarray(at, at + 1024);
      await gdbCommand(gdb, `M${(address + at).toString(16)},${part.length.toString(16)}:${part.toString('hex')}`);
    }
    gdb.close();
  }

  /** Seccomp mode of each thread: 2 is a filter. */
  async seccompModes(): Promise<string[]> {
    const threads = await readdir(`/proc/${this.pid}/task`);
    const all = await Promise.all(threads.map((thread) => readFile(`/proc/${this.pid}/task/${thread}/status`, 'utf8')));
    return all.map((status) => /^Seccomp:\s*(\d)/m.exec(status)?.[1] ?? 'none');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.shim.close();
    this.#qmp.close();
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}

function spawnQemu(o: QemuOptions): ChildProcess {
  const backend = `memory-backend-file,id=m0,size=${o.memoryMib}M,mem-path=${o.ram},share=off`;
  const memory = o.preconfig === true ? ['-preconfig'] : ['-object', backend];
  const machine = o.preconfig === true ? 'microvm,accel=tcg' : 'microvm,accel=tcg,memory-backend=m0';
  const argv = [
    '-M',
    machine,
    '-m',
    `${o.memoryMib}M`,
    ...memory,
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
  ];
  argv.push('-S', '-incoming', 'defer', '-sandbox', sandboxOptions);
  argv.push('-qmp', `unix:${join(o.folder, 'qmp')},server=on,wait=off`);
  argv.push('-gdb', `unix:${join(o.folder, 'gdb')},server=on,wait=off`);
  const env = [
    `LD_PRELOAD=${o.shimFile}`,
    `HOLDFAST_SHIM_SOCKET=${join(o.folder, 'shim')}`,
    `HOLDFAST_RAM_PATH=${o.ram}`,
    ...(o.readOnly === false ? [] : ['HOLDFAST_RAM_READONLY=1']),
  ];
  const command = ['env', ...env, qemu, ...argv];
  const id = String(o.uid);
  const become = ['setpriv', '--reuid', id, '--regid', id, '--clear-groups', '--no-new-privs', '--inh-caps=-all'];
  const [program = '', ...rest] = o.uid === undefined ? command : [...become, '--bounding-set=-all', ...command];
  return spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** QEMU's sockets appear some milliseconds after its start; it says nothing when they do. */
async function untilThere<T>(attempt: () => Promise<T>, child: ChildProcess): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** The remote protocol of gdb: `$text#sum`, where the sum of the bytes has two hexadecimal digits. */
async function gdbCommand(gdb: Conversation, text: string): Promise<void> {
  const sum = Buffer.from(text, 'latin1').reduce((total, byte) => (total + byte) & 255, 0);
  gdb.send(`$${text}#${sum.toString(16).padStart(2, '0')}`);
  const answer = await gdb.next(/\$([^#]*)#[0-9a-f]{2}/);
  gdb.send('+');
  if (answer !== 'OK') throw new Error(`the debugger port answered ${answer}`);
}
