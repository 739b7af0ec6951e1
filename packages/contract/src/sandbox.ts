import { z } from 'zod';
import { routes } from './route.ts';

/** Memory tiers in MiB; each is frozen once per template, on first use. */
export const memoryTiersMib = [512, 1024, 2048, 4096, 8192] as const;

const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits and hyphens, at most 63');
const path = z.string().min(1).max(4096).startsWith('/', 'must be absolute');
const id = z.object({ id: z.string().max(128) });
const int = (min: number, max: number) => z.number().int().min(min).max(max);

export const sandboxState = z.enum([
  'creating',
  'running',
  'standing_by',
  'standby',
  'resuming',
  'stopped',
  'failed',
  'deleting',
]);

export const sandbox = z.object({
  id: z.string(),
  name: z.string().nullable(),
  template: z.string(),
  state: sandboxState,
  memoryMib: z.number(),
  vcpus: z.number(),
  diskMib: z.number(),
  /** Milliseconds without activity until standby; 0 never. */
  idleTimeoutMs: z.number(),
  /** Milliseconds of total running time until it is deleted; 0 never. */
  maxLifetimeMs: z.number(),
  labels: z.record(z.string(), z.string()),
  /** The sandbox this one was forked from. */
  parentId: z.string().nullable(),
  hostId: z.string(),
  /** Bytes on disk of its own: overlay disk plus standby pages and state. */
  storedBytes: z.number(),
  createdAt: z.string(),
  lastActiveAt: z.string(),
  /** Why it failed or what it lost, when it did. */
  notice: z.string().nullable(),
});

const limits = {
  /** Hard memory limit of this process tree in MiB. */
  memoryMib: int(16, 8192).optional(),
  maxProcesses: int(1, 4096).optional(),
  /** Percent of one CPU. */
  cpuPercent: int(1, 6400).optional(),
};

const command = {
  argv: z.array(z.string().max(65536)).min(1).max(1024).optional(),
  shell: z.string().min(1).max(60000).optional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string().max(32768)).optional(),
  cwd: path.optional(),
  user: z.string().min(1).max(64).optional(),
  ...limits,
};
const oneCommand = { message: 'give either argv or shell', path: ['argv'] };

export const execRequest = z
  .object({
    ...command,
    /** UTF-8 text for standard input. */
    stdin: z.string().max(1_000_000).optional(),
    /** Milliseconds until the process tree is killed; 0 none. */
    timeoutMs: int(0, 86_400_000).default(120_000),
    /** Most bytes returned for each of stdout and stderr; what exceeds it is dropped from the middle. */
    maxOutputBytes: int(0, 16_777_216).default(1_048_576),
  })
  .refine((r) => (r.argv === undefined) !== (r.shell === undefined), oneCommand);

export const execUsage = z.object({
  /** Fork to exit, measured in the guest. */
  elapsedMs: z.number(),
  cpuUserMs: z.number(),
  cpuSystemMs: z.number(),
  memoryPeakBytes: z.number(),
  throttledMs: z.number(),
});

export const execResult = z.object({
  /** Null when a signal ended it. */
  exitCode: z.number().nullable(),
  signal: z.string().nullable(),
  stdout: z.string(),
  stderr: z.string(),
  /** Bytes left out of stdout or stderr. */
  droppedBytes: z.number(),
  timedOut: z.boolean(),
  /** The kernel killed something in it for memory. */
  outOfMemory: z.boolean(),
  usage: execUsage,
});

/** Messages of the streamed exec, one a server-sent event. Data is base64. */
export const execEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('started'), pid: z.number() }),
  z.object({ type: z.literal('stdout'), data: z.string() }),
  z.object({ type: z.literal('stderr'), data: z.string() }),
  z.object({ type: z.literal('exit'), result: execResult.omit({ stdout: true, stderr: true, droppedBytes: true }) }),
]);

export const processRecord = z.object({
  name: z.string(),
  pid: z.number(),
  state: z.enum(['running', 'exited', 'frozen']),
  argv: z.array(z.string()),
  startedAt: z.string(),
  exitCode: z.number().nullable(),
  signal: z.string().nullable(),
  memoryPeakBytes: z.number(),
  logDroppedBytes: z.number(),
});

export const fileStat = z.object({
  name: z.string(),
  kind: z.enum(['file', 'directory', 'symlink', 'fifo', 'socket', 'char', 'block']),
  size: z.number(),
  mode: z.number(),
  uid: z.number(),
  gid: z.number(),
  modifiedAt: z.string(),
  target: z.string().nullable(),
});

export const awakeReason = z.object({
  kind: z.enum(['request', 'stream', 'exec', 'shell', 'watch', 'forward', 'keep_alive', 'recent_activity']),
  detail: z.string(),
  since: z.string(),
  /** For keep_alive and recent_activity: when it ends. */
  until: z.string().nullable(),
});

export const sandboxEvent = z.object({
  seq: z.number(),
  sandboxId: z.string(),
  at: z.string(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()),
});

const processName = z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/);
const page = { limit: z.coerce.number().int().min(1).max(1000).default(100), cursor: z.string().max(256).optional() };
const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((v) => v === 'true');

export const sandboxRoutes = routes({
  createSandbox: {
    method: 'POST',
    path: '/api/sandboxes',
    role: 'developer',
    answer: 'json',
    status: 201,
    summary: 'Create a sandbox: resume a copy-on-write child of a template.',
    body: z.object({
      name: name.optional(),
      template: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
        .default('base'),
      memoryMib: z.union(memoryTiersMib.map((m) => z.literal(m))).default(512),
      idleTimeoutMs: int(0, 86_400_000).default(15_000),
      maxLifetimeMs: int(0, 31_536_000_000).default(0),
      labels: z.record(z.string().max(64), z.string().max(256)).default({}),
    }),
    response: sandbox,
  },
  listSandboxes: {
    method: 'GET',
    path: '/api/sandboxes',
    role: 'viewer',
    answer: 'json',
    summary: 'List the sandboxes of the workspace, newest first.',
    query: z.object({ ...page, state: sandboxState.optional() }),
    response: z.object({ items: z.array(sandbox), cursor: z.string().nullable() }),
  },
  getSandbox: {
    method: 'GET',
    path: '/api/sandboxes/{id}',
    role: 'viewer',
    answer: 'json',
    params: id,
    summary: 'Read one sandbox by id or name.',
    response: sandbox,
  },
  deleteSandbox: {
    method: 'DELETE',
    path: '/api/sandboxes/{id}',
    role: 'developer',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Delete a sandbox with all it stores.',
  },
  standbySandbox: {
    method: 'POST',
    path: '/api/sandboxes/{id}/standby',
    role: 'developer',
    answer: 'json',
    params: id,
    summary:
      'Stand by now. Refused while something holds it awake, unless forced; forced execs continue on resume as background processes.',
    body: z.object({ force: z.boolean().default(false) }),
    response: sandbox,
  },
  resumeSandbox: {
    method: 'POST',
    path: '/api/sandboxes/{id}/resume',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'Resume now. Every other call that needs the guest resumes it by itself.',
    response: sandbox,
  },
  forkSandbox: {
    method: 'POST',
    path: '/api/sandboxes/{id}/fork',
    role: 'developer',
    answer: 'json',
    status: 201,
    params: id,
    summary: 'Fork RAM, processes and disk into new sandboxes with identities of their own.',
    body: z.object({ count: int(1, 100).default(1), name: name.optional() }),
    response: z.object({ items: z.array(sandbox) }),
  },
  whySandbox: {
    method: 'GET',
    path: '/api/sandboxes/{id}/why',
    role: 'viewer',
    answer: 'json',
    params: id,
    summary: 'Why a sandbox is awake, and when it will stand by.',
    response: z.object({
      state: sandboxState,
      awake: z.boolean(),
      reasons: z.array(awakeReason),
      standbyAt: z.string().nullable(),
    }),
  },
  keepSandboxAlive: {
    method: 'PUT',
    path: '/api/sandboxes/{id}/keep-alive',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'Hold it awake for so many seconds from now; 0 ends it.',
    body: z.object({ seconds: int(0, 2_592_000) }),
    response: sandbox,
  },
  sandboxEvents: {
    method: 'GET',
    path: '/api/sandboxes/{id}/events',
    role: 'viewer',
    answer: 'json',
    params: id,
    summary: 'What happened to a sandbox, oldest first.',
    query: z.object({
      after: z.coerce.number().int().min(0).default(0),
      limit: z.coerce.number().int().min(1).max(1000).default(100),
    }),
    response: z.object({ items: z.array(sandboxEvent) }),
  },
  exec: {
    method: 'POST',
    path: '/api/sandboxes/{id}/exec',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'Run a command and wait for it.',
    body: execRequest,
    response: execResult,
  },
  execStream: {
    method: 'POST',
    path: '/api/sandboxes/{id}/exec/stream',
    role: 'developer',
    answer: 'sse',
    params: id,
    summary: 'Run a command and stream its output.',
    body: execRequest,
    response: execEvent,
  },
  shell: {
    method: 'GET',
    path: '/api/sandboxes/{id}/shell',
    role: 'developer',
    answer: 'websocket',
    params: id,
    summary:
      'A terminal: binary messages are bytes either way; text messages are {"rows","cols"} in and {"exitCode","signal"} out.',
    query: z.object({
      rows: z.coerce.number().int().min(1).max(1000).default(24),
      cols: z.coerce.number().int().min(1).max(1000).default(80),
      command: z.string().max(4096).optional(),
      user: z.string().max(64).optional(),
    }),
  },
  startProcess: {
    method: 'POST',
    path: '/api/sandboxes/{id}/processes',
    role: 'developer',
    answer: 'json',
    status: 201,
    params: id,
    summary: 'Start a named background process with a bounded log.',
    body: z
      .object({ name: processName, logLimitBytes: int(4096, 16_777_216).default(1_048_576), ...command })
      .refine((r) => (r.argv === undefined) !== (r.shell === undefined), oneCommand),
    response: processRecord,
  },
  listProcesses: {
    method: 'GET',
    path: '/api/sandboxes/{id}/processes',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'List background processes (resumes the sandbox).',
    response: z.object({ items: z.array(processRecord) }),
  },
  processLogs: {
    method: 'GET',
    path: '/api/sandboxes/{id}/processes/{name}/logs',
    role: 'developer',
    answer: 'bytes',
    params: z.object({ id: z.string().max(128), name: processName }),
    summary: 'Output of a background process; with follow until it ends.',
    query: z.object({ follow: flag, limitBytes: z.coerce.number().int().min(0).max(16_777_216).optional() }),
  },
  stopProcess: {
    method: 'DELETE',
    path: '/api/sandboxes/{id}/processes/{name}',
    role: 'developer',
    answer: 'json',
    params: z.object({ id: z.string().max(128), name: processName }),
    summary: 'Stop a background process: the signal, then after 5 s SIGKILL.',
    response: processRecord,
  },
  readFile: {
    method: 'GET',
    path: '/api/sandboxes/{id}/files',
    role: 'developer',
    answer: 'bytes',
    params: id,
    summary: 'Read a file.',
    query: z.object({
      path,
      offset: z.coerce.number().int().min(0).optional(),
      length: z.coerce.number().int().min(0).optional(),
    }),
  },
  writeFile: {
    method: 'PUT',
    path: '/api/sandboxes/{id}/files',
    role: 'developer',
    answer: 'json',
    bodyKind: 'bytes',
    params: id,
    summary: 'Write a file atomically and durably.',
    query: z.object({
      path,
      mode: z
        .string()
        .regex(/^[0-7]{3,4}$/)
        .optional(),
      parents: flag,
      user: z.string().max(64).optional(),
    }),
    response: z.object({ size: z.number() }),
  },
  removeFile: {
    method: 'DELETE',
    path: '/api/sandboxes/{id}/files',
    role: 'developer',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove a file, or with recursive a directory.',
    query: z.object({ path, recursive: flag }),
  },
  statFile: {
    method: 'GET',
    path: '/api/sandboxes/{id}/files/stat',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'Read the attributes of a path.',
    query: z.object({ path }),
    response: fileStat,
  },
  listFiles: {
    method: 'GET',
    path: '/api/sandboxes/{id}/files/list',
    role: 'developer',
    answer: 'json',
    params: id,
    summary: 'List a directory.',
    query: z.object({ path, ...page }),
    response: z.object({ items: z.array(fileStat), cursor: z.string().nullable() }),
  },
  makeDirectory: {
    method: 'POST',
    path: '/api/sandboxes/{id}/files/directory',
    role: 'developer',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Make a directory.',
    body: z.object({
      path,
      mode: z
        .string()
        .regex(/^[0-7]{3,4}$/)
        .optional(),
      parents: z.boolean().default(false),
    }),
  },
  moveFile: {
    method: 'POST',
    path: '/api/sandboxes/{id}/files/move',
    role: 'developer',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Move or rename.',
    body: z.object({ from: path, to: path, overwrite: z.boolean().default(false) }),
  },
  watchFiles: {
    method: 'GET',
    path: '/api/sandboxes/{id}/files/watch',
    role: 'developer',
    answer: 'sse',
    params: id,
    summary: 'Watch a path for changes.',
    query: z.object({ path, recursive: flag }),
    response: z.object({
      type: z.enum(['created', 'modified', 'removed', 'moved']),
      path: z.string(),
      to: z.string().nullable(),
    }),
  },
  downloadTree: {
    method: 'GET',
    path: '/api/sandboxes/{id}/tree',
    role: 'developer',
    answer: 'bytes',
    params: id,
    summary: 'Download a directory as a tar stream.',
    query: z.object({ path }),
  },
  uploadTree: {
    method: 'PUT',
    path: '/api/sandboxes/{id}/tree',
    role: 'developer',
    answer: 'json',
    bodyKind: 'bytes',
    params: id,
    summary: 'Unpack a tar stream into a directory.',
    query: z.object({ path }),
    response: z.object({ size: z.number() }),
  },
  forwardPort: {
    method: 'GET',
    path: '/api/sandboxes/{id}/ports/{port}',
    role: 'developer',
    answer: 'websocket',
    params: z.object({ id: z.string().max(128), port: z.coerce.number().int().min(1).max(65535) }),
    summary: 'A TCP connection to a port in the sandbox; binary messages are bytes.',
  },
});

export type Sandbox = z.output<typeof sandbox>;
export type ExecRequest = z.output<typeof execRequest>;
export type ExecResult = z.output<typeof execResult>;
export type ExecEvent = z.output<typeof execEvent>;
export type ProcessRecord = z.output<typeof processRecord>;
export type FileStat = z.output<typeof fileStat>;
export type AwakeReason = z.output<typeof awakeReason>;
export type SandboxEvent = z.output<typeof sandboxEvent>;
