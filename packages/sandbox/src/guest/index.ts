export { GuestClient } from './client.ts';
export { type CollectedOutput, collectOutput } from './collected-output.ts';
export type { GuestCommand } from './command.ts';
export type { ConnectionLoad, ConnectOptions, GuestClosed } from './connection.ts';
export type { GuestExec, GuestExecOptions, TerminalSize } from './exec.ts';
export type { GuestExit, GuestUsage } from './exit.ts';
export type {
  GuestEntry,
  GuestFile,
  GuestFileKind,
  GuestListing,
  GuestReadOptions,
  GuestStat,
  GuestWriteOptions,
} from './files.ts';
export type { GuestListener, GuestListenOptions } from './forward.ts';
export type { GuestHello } from './hello.ts';
export { guestLimits } from './limits.ts';
export type {
  GuestLogEnd,
  GuestLogOptions,
  GuestLogs,
  GuestProcess,
  GuestProcessState,
  GuestSpawnOptions,
  GuestStopOptions,
} from './processes.ts';
export { GuestSocket } from './socket.ts';
export type { GuestFreeze, GuestIdentity, GuestRestore, GuestStats } from './system.ts';
export type { GuestTar } from './tar.ts';
export type { UploadBody } from './upload.ts';
export type { GuestWatch, GuestWatchEvent } from './watch.ts';
