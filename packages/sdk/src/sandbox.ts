import type {
  allRoutes,
  ExecResult,
  FileStat,
  ProcessRecord,
  SandboxEvent,
  Sandbox as SandboxRecord,
} from '@holdfast/contract';
import type { z } from 'zod';
import type { ByteStream } from './byte-stream.ts';
import type { Channel } from './channel.ts';
import type { Client } from './client.ts';
import { type Command, commandOf, type ExecOptions, type ExecOutput, outputOf, type SpawnOptions } from './command.ts';
import type { PackOptions, UnpackResult } from './directory.ts';
import type { EventStream } from './event-stream.ts';
import type { BytesBody, CallOptions, RouteArguments, RouteResult } from './route-call.ts';
import { Shell } from './shell.ts';

type Routes = typeof allRoutes;

export type CreateSandboxInput = z.input<Routes['createSandbox']['body']>;
export type WriteFileOptions = Omit<NonNullable<RouteArguments<Routes['writeFile']>['query']>, 'path'>;

/**
 * One sandbox by id or name. Every method that needs the guest resumes the sandbox by itself. Errors are
 * `HoldfastError`s; an unknown or foreign sandbox is `sandbox.not_found` or `resource.not_found`.
 */
export class Sandbox {
  readonly idOrName: string;
  readonly #client: Client;

  constructor(client: Client, idOrName: string) {
    this.#client = client;
    this.idOrName = idOrName;
  }

  /** Creates a sandbox; with no input a `base` one of 512 MiB that stands by after 15 s without activity. */
  static async create(client: Client, input: CreateSandboxInput = {}, options?: CallOptions): Promise<Sandbox> {
    const { id } = await client.createSandbox({ body: input }, options);
    return new Sandbox(client, id);
  }

  get #params(): { id: string } {
    return { id: this.idOrName };
  }

  /** The same sandbox through another client, such as one `with` a `traceparent`. */
  through(client: Client): Sandbox {
    return new Sandbox(client, this.idOrName);
  }

  info(options?: CallOptions): Promise<SandboxRecord> {
    return this.#client.getSandbox({ params: this.#params }, options);
  }

  /** Runs a command to its end. A non-zero exit code is a result, not an error. */
  exec(command: Command, input: ExecOptions = {}, options?: CallOptions): Promise<ExecResult> {
    return this.#client.exec({ params: this.#params, body: { ...input, ...commandOf(command) } }, options);
  }

  /** Runs a command and gives its output as it comes. Leaving the loop kills it. */
  async execStream(command: Command, input: ExecOptions = {}, options?: CallOptions): Promise<EventStream<ExecOutput>> {
    const body = { ...input, ...commandOf(command) };
    return (await this.#client.execStream({ params: this.#params, body }, options)).map(outputOf);
  }

  /** Starts a named background process. It continues after standby, but does not hold the sandbox awake. */
  spawn(name: string, command: Command, input: SpawnOptions = {}, options?: CallOptions): Promise<ProcessRecord> {
    const body = { ...input, name, ...commandOf(command) };
    return this.#client.startProcess({ params: this.#params, body }, options);
  }

  async processes(options?: CallOptions): Promise<ProcessRecord[]> {
    return (await this.#client.listProcesses({ params: this.#params }, options)).items;
  }

  /** Output of a background process; with `follow` until it ends. */
  logs(
    name: string,
    query: { readonly follow?: boolean; readonly limitBytes?: number } = {},
    options?: CallOptions,
  ): Promise<ByteStream> {
    return this.#client.processLogs({ params: { id: this.idOrName, name }, query }, options);
  }

  stopProcess(name: string, options?: CallOptions): Promise<ProcessRecord> {
    return this.#client.stopProcess({ params: { id: this.idOrName, name } }, options);
  }

  /** A terminal; `command` replaces the login shell. */
  async shell(
    query: { readonly rows?: number; readonly cols?: number; readonly command?: string; readonly user?: string } = {},
    options?: CallOptions,
  ): Promise<Shell> {
    return new Shell(await this.#client.shell({ params: this.#params, query }, options));
  }

  /** One TCP connection to a port in the sandbox; `duplex()` of it is a Node stream. */
  forward(port: number, options?: CallOptions): Promise<Channel> {
    return this.#client.forwardPort({ params: { id: this.idOrName, port } }, options);
  }

  /** A file as a stream, from byte `offset` and at most `length` bytes. */
  openFile(
    path: string,
    range: { readonly offset?: number; readonly length?: number } = {},
    options?: CallOptions,
  ): Promise<ByteStream> {
    return this.#client.readFile({ params: this.#params, query: { path, ...range } }, options);
  }

  /** A whole file, at most 256 MiB. */
  async readFile(path: string, options?: CallOptions): Promise<Uint8Array> {
    return (await this.openFile(path, {}, options)).bytes();
  }

  /** A whole file as UTF-8, at most 256 MiB. */
  async readText(path: string, options?: CallOptions): Promise<string> {
    return (await this.openFile(path, {}, options)).text();
  }

  /** Writes a file atomically: readers see the old content or all of the new. */
  writeFile(
    path: string,
    content: BytesBody,
    input: WriteFileOptions = {},
    options?: CallOptions,
  ): Promise<{ size: number }> {
    return this.#client.writeFile({ params: this.#params, query: { path, ...input }, body: content }, options);
  }

  async removeFile(path: string, input: { readonly recursive?: boolean } = {}, options?: CallOptions): Promise<void> {
    await this.#client.removeFile({ params: this.#params, query: { path, ...input } }, options);
  }

  stat(path: string, options?: CallOptions): Promise<FileStat> {
    return this.#client.statFile({ params: this.#params, query: { path } }, options);
  }

  /** Entries of a directory, page by page. */
  async *list(path: string, options?: CallOptions): AsyncGenerator<FileStat> {
    let cursor: string | undefined;
    do {
      const query = { path, limit: 1000, cursor };
      const page = await this.#client.listFiles({ params: this.#params, query }, options);
      yield* page.items;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  async makeDirectory(
    path: string,
    input: { readonly mode?: string; readonly parents?: boolean } = {},
    options?: CallOptions,
  ): Promise<void> {
    await this.#client.makeDirectory({ params: this.#params, body: { path, ...input } }, options);
  }

  async move(
    from: string,
    to: string,
    input: { readonly overwrite?: boolean } = {},
    options?: CallOptions,
  ): Promise<void> {
    await this.#client.moveFile({ params: this.#params, body: { from, to, ...input } }, options);
  }

  /** Changes below a path as they happen; holds the sandbox awake. */
  watch(
    path: string,
    input: { readonly recursive?: boolean } = {},
    options?: CallOptions,
  ): Promise<RouteResult<Routes['watchFiles']>> {
    return this.#client.watchFiles({ params: this.#params, query: { path, ...input } }, options);
  }

  /** Copies the content of a local directory into one of the sandbox, which is made if it does not exist. */
  async uploadDirectory(
    local: string,
    remote: string,
    input: PackOptions = {},
    options?: CallOptions,
  ): Promise<{ size: number }> {
    const { packDirectory } = await import('./directory.ts');
    const body = packDirectory(local, input);
    return this.#client.uploadTree({ params: this.#params, query: { path: remote }, body }, options);
  }

  /** Copies the content of a directory of the sandbox into a local one. Nothing is written outside `local`. */
  async downloadDirectory(remote: string, local: string, options?: CallOptions): Promise<UnpackResult> {
    const { unpackDirectory } = await import('./directory.ts');
    const body = await this.#client.downloadTree({ params: this.#params, query: { path: remote } }, options);
    return unpackDirectory(body, local);
  }

  /** Stands by now. Refused while something holds it awake, unless forced. */
  standby(input: { readonly force?: boolean } = {}, options?: CallOptions): Promise<SandboxRecord> {
    return this.#client.standbySandbox({ params: this.#params, body: input }, options);
  }

  resume(options?: CallOptions): Promise<SandboxRecord> {
    return this.#client.resumeSandbox({ params: this.#params }, options);
  }

  /** Forks RAM, processes and disk into `count` new sandboxes. With a name one is called that, and several are name-1, name-2, … */
  async fork(
    input: { readonly count?: number; readonly name?: string } = {},
    options?: CallOptions,
  ): Promise<Sandbox[]> {
    const { items } = await this.#client.forkSandbox({ params: this.#params, body: input }, options);
    return items.map(({ id }) => new Sandbox(this.#client, id));
  }

  /** Why it is awake, and when it will stand by. Does not wake it. */
  why(options?: CallOptions): Promise<RouteResult<Routes['whySandbox']>> {
    return this.#client.whySandbox({ params: this.#params }, options);
  }

  /** Holds it awake for so many seconds from now; 0 ends that. */
  keepAlive(seconds: number, options?: CallOptions): Promise<SandboxRecord> {
    return this.#client.keepSandboxAlive({ params: this.#params, body: { seconds } }, options);
  }

  /** What happened to it, oldest first, after the event of that number. */
  async events(
    query: { readonly after?: number; readonly limit?: number } = {},
    options?: CallOptions,
  ): Promise<SandboxEvent[]> {
    return (await this.#client.sandboxEvents({ params: this.#params, query }, options)).items;
  }

  async delete(options?: CallOptions): Promise<void> {
    await this.#client.deleteSandbox({ params: this.#params }, options);
  }
}
