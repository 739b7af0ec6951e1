export type {
  AwakeReason,
  ExecResult,
  FileStat,
  ProcessRecord,
  Sandbox as SandboxRecord,
  SandboxEvent,
  SpanInput,
  Trace,
} from '@holdfast/contract';
export { fitted, formatCost, formatDuration, printable, renderTraceTree, textWidth } from '@holdfast/contract';
export {
  type ErrorCode,
  formatTraceparent,
  HoldfastError,
  newSpanId,
  newTraceId,
  parseTraceparent,
} from '@holdfast/core';
export type { ByteStream } from './byte-stream.ts';
export type { Channel, ChannelEnd, ChannelMessage } from './channel.ts';
export { type Client, type ClientOptions, createClient, createRouteMethods } from './client.ts';
export type { Command, ExecOptions, ExecOutput, SpawnOptions } from './command.ts';
export type { PackOptions, UnpackResult } from './directory.ts';
export type { EventStream } from './event-stream.ts';
export type { BytesBody, CallOptions, RouteArguments, RouteMethod, RouteMethods, RouteResult } from './route-call.ts';
export { type CreateSandboxInput, Sandbox, type WriteFileOptions } from './sandbox.ts';
export type { Shell, ShellExit } from './shell.ts';
