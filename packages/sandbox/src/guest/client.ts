import type { Duplex } from 'node:stream';
import { type ConnectionLoad, type ConnectOptions, type GuestClosed, GuestConnection } from './connection.ts';
import { type GuestExec, type GuestExecOptions, startExec } from './exec.ts';
import type { GuestExit } from './exit.ts';
import * as files from './files.ts';
import { connectSocket, type GuestListener, type GuestListenOptions, listenSocket } from './forward.ts';
import type { GuestHello } from './hello.ts';
import * as processes from './processes.ts';
import type { GuestSocket } from './socket.ts';
import * as system from './system.ts';
import { Op } from './tags.ts';
import { type GuestTar, tarIn, tarOut } from './tar.ts';
import type { UploadBody } from './upload.ts';
import { type GuestWatch, watchFiles } from './watch.ts';

/**
 * The host's side of the guest protocol (guest/protocol.md), over a byte stream to the agent of one guest. Any number of
 * operations run at once. The guest is not trusted: a violation closes the connection, and all that is pending rejects
 * with `guest.protocol_error`; a lost connection rejects with `guest.disconnected`. What the guest refuses rejects with
 * the `guest.…` code of its error, errno in the details.
 */
export class GuestClient {
  /** Resolves with the guest's HELLO. Requests need not wait for it. */
  readonly ready: Promise<GuestHello>;
  /** Never rejects. */
  readonly closed: Promise<GuestClosed>;
  readonly #connection: GuestConnection;

  private constructor(connection: GuestConnection) {
    this.#connection = connection;
    this.ready = connection.ready;
    this.closed = connection.closed;
  }

  /** Greets the guest without waiting: requests made at once travel in the same write, behind HELLO. Owns `stream`. */
  static start(stream: Duplex, options: ConnectOptions): GuestClient {
    return new GuestClient(new GuestConnection(stream, options));
  }

  /** Greets the guest and waits for its answer. Rejects with `guest.timeout`, `guest.version_mismatch` and the like. */
  static async connect(stream: Duplex, options: ConnectOptions): Promise<GuestClient> {
    const client = GuestClient.start(stream, options);
    await client.ready;
    return client;
  }

  /** Throws `guest.disconnected` until `ready`. */
  get hello(): GuestHello {
    return this.#connection.hello;
  }

  /** What is open and waits in memory. */
  get load(): ConnectionLoad {
    return this.#connection.load;
  }

  /** Closes the byte stream; all that is pending rejects with `guest.disconnected`. */
  close(): void {
    this.#connection.close();
  }

  /** Nanoseconds since 1970 by the guest's clock. */
  ping(): Promise<bigint> {
    return system.ping(this.#connection);
  }

  exec(options: GuestExecOptions): GuestExec {
    return startExec(this.#connection, options);
  }

  spawn(options: processes.GuestSpawnOptions): Promise<{ pid: number }> {
    return processes.spawn(this.#connection, options);
  }

  ps(): Promise<processes.GuestProcess[]> {
    return processes.listProcesses(this.#connection);
  }

  logs(name: string, options: processes.GuestLogOptions = {}): processes.GuestLogs {
    return processes.readLogs(this.#connection, name, options);
  }

  /** Ends a background process and forgets it with its log. */
  stop(name: string, options: processes.GuestStopOptions = {}): Promise<GuestExit> {
    return processes.stopProcess(this.#connection, name, options);
  }

  /** Opens a file; its content is read from `body`. */
  read(path: string, options: files.GuestReadOptions = {}): Promise<files.GuestFile> {
    return files.readFile(this.#connection, path, options);
  }

  /** Writes a file atomically. */
  write(path: string, body: UploadBody, options: files.GuestWriteOptions = {}): Promise<{ size: number }> {
    return files.writeFile(this.#connection, path, body, options);
  }

  /** Attributes of the path itself, not of what a link leads to. */
  stat(path: string): Promise<files.GuestStat> {
    return files.statFile(this.#connection, path);
  }

  list(path: string, options: { readonly limit?: number; readonly cursor?: string } = {}): Promise<files.GuestListing> {
    return files.listFiles(this.#connection, path, options);
  }

  mkdir(path: string, options: { readonly mode?: number; readonly parents?: boolean } = {}): Promise<void> {
    return files.makeDirectory(this.#connection, path, options);
  }

  move(from: string, to: string, options: { readonly overwrite?: boolean } = {}): Promise<void> {
    return files.moveFile(this.#connection, from, to, options);
  }

  remove(path: string, options: { readonly recursive?: boolean } = {}): Promise<void> {
    return files.removeFile(this.#connection, path, options);
  }

  tarOut(path: string): GuestTar {
    return tarOut(this.#connection, path);
  }

  tarIn(
    path: string,
    body: UploadBody,
    owner: { readonly uid?: number; readonly gid?: number } = {},
  ): Promise<{ size: number }> {
    return tarIn(this.#connection, path, body, owner);
  }

  /** Requests made after it see the watch in place. */
  watch(path: string, options: { readonly recursive?: boolean } = {}): GuestWatch {
    return watchFiles(this.#connection, path, options);
  }

  connect(port: number, host?: string): Promise<GuestSocket> {
    return connectSocket(this.#connection, port, host);
  }

  listen(options: GuestListenOptions, onConnection: (socket: GuestSocket) => void): Promise<GuestListener> {
    return listenSocket(this.#connection, options, onConnection);
  }

  /** Steps the guest's clock to so many nanoseconds since 1970. */
  clock(timeNs: bigint): Promise<void> {
    return system.stepClock(this.#connection, timeNs);
  }

  reseed(entropy: Uint8Array): Promise<void> {
    return system.reseed(this.#connection, entropy);
  }

  identity(identity: system.GuestIdentity): Promise<void> {
    return system.setIdentity(this.#connection, identity);
  }

  /** Stops all user processes until `thaw` or `restore`. */
  freeze(options: system.GuestFreeze): Promise<void> {
    return system.freeze(this.#connection, options);
  }

  thaw(): Promise<void> {
    return system.command(this.#connection, Op.thaw);
  }

  /** Clock, random pool, identity and thaw in one round trip. */
  restore(options: system.GuestRestore): Promise<void> {
    return system.restore(this.#connection, options);
  }

  stats(): Promise<system.GuestStats> {
    return system.stats(this.#connection);
  }

  /** Writes the disk out. */
  sync(): Promise<void> {
    return system.command(this.#connection, Op.sync);
  }

  poweroff(): Promise<void> {
    return system.command(this.#connection, Op.poweroff);
  }
}
