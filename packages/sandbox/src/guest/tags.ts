/** Numbers of guest/protocol.md. */

export const protocolVersion = 1;

export const FrameType = {
  hello: 1,
  open: 2,
  data: 3,
  eof: 4,
  credit: 5,
  ctl: 6,
  event: 7,
  result: 8,
  error: 9,
  cancel: 10,
} as const;

export const Tag = {
  op: 1,
  version: 2,
  nonce: 3,
  agent: 4,
  bootId: 5,
  features: 6,
  code: 7,
  message: 8,
  errno: 9,
  arg: 10,
  shell: 11,
  env: 12,
  cwd: 13,
  user: 14,
  timeoutMs: 15,
  pty: 16,
  rows: 17,
  cols: 18,
  signal: 19,
  exitCode: 20,
  pid: 21,
  memoryMax: 22,
  memoryHigh: 23,
  pidsMax: 24,
  cpuPercent: 25,
  stdin: 26,
  logLimit: 27,
  follow: 28,
  state: 29,
  path: 30,
  to: 31,
  mode: 32,
  uid: 33,
  gid: 34,
  size: 35,
  mtimeNs: 36,
  kind: 37,
  target: 38,
  offset: 39,
  length: 40,
  recursive: 41,
  name: 42,
  parents: 43,
  overwrite: 44,
  sync: 45,
  watchMask: 46,
  watchEvent: 47,
  limit: 48,
  cursor: 49,
  host: 50,
  port: 51,
  listener: 52,
  timeNs: 60,
  entropy: 61,
  hostname: 62,
  machineId: 63,
  detach: 64,
  elapsedNs: 70,
  cpuUserUs: 71,
  cpuSystemUs: 72,
  memoryPeak: 73,
  oomKills: 74,
  timedOut: 75,
  startedNs: 76,
  logDropped: 77,
  throttledUs: 78,
  record: 79,
  memoryTotal: 80,
  memoryAvailable: 81,
  processes: 82,
  diskTotal: 83,
  diskFree: 84,
  foreground: 85,
  background: 86,
} as const;

export const Op = {
  ping: 1,
  exec: 2,
  spawn: 3,
  ps: 4,
  logs: 5,
  stop: 6,
  read: 10,
  write: 11,
  stat: 12,
  list: 13,
  mkdir: 14,
  move: 15,
  remove: 16,
  tarOut: 17,
  tarIn: 18,
  watch: 19,
  connect: 20,
  listen: 21,
  clock: 30,
  reseed: 31,
  identity: 32,
  freeze: 33,
  thaw: 34,
  restore: 35,
  stats: 36,
  sync: 37,
  poweroff: 38,
  signal: 50,
  resize: 51,
  accepted: 60,
} as const;

/** Data channels: 0 is the main one; an exec's output comes on 1 and 2. */
export const Channel = { main: 0, stdout: 1, stderr: 2 } as const;
export const maxChannel = 2;

export type TagKind = 'u64' | 'i64' | 'text' | 'bytes' | 'record';

const texts = [
  Tag.agent,
  Tag.bootId,
  Tag.features,
  Tag.code,
  Tag.message,
  Tag.arg,
  Tag.shell,
  Tag.env,
  Tag.cwd,
  Tag.user,
  Tag.path,
  Tag.to,
  Tag.target,
  Tag.name,
  Tag.cursor,
  Tag.host,
  Tag.hostname,
  Tag.machineId,
];

/** What the value of each known tag is, by tag; whatever is not named here is a u64. */
export const tagKinds: readonly (TagKind | undefined)[] = (() => {
  const kinds: (TagKind | undefined)[] = [];
  for (const tag of Object.values(Tag)) kinds[tag] = 'u64';
  for (const tag of texts) kinds[tag] = 'text';
  kinds[Tag.mtimeNs] = 'i64';
  kinds[Tag.nonce] = 'bytes';
  kinds[Tag.entropy] = 'bytes';
  kinds[Tag.record] = 'record';
  return kinds;
})();
