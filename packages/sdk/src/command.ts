import type { allRoutes, ExecEvent, ExecResult } from '@holdfast/contract';
import type { z } from 'zod';

/** Text runs in the guest's shell; a list is the program and its arguments, without a shell. */
export type Command = string | readonly string[];

export type ExecOptions = Omit<z.input<(typeof allRoutes)['exec']['body']>, 'argv' | 'shell'>;
export type SpawnOptions = Omit<z.input<(typeof allRoutes)['startProcess']['body']>, 'argv' | 'shell' | 'name'>;

/** The streamed exec with its output as bytes. */
export type ExecOutput =
  | { readonly type: 'started'; readonly pid: number }
  | { readonly type: 'stdout' | 'stderr'; readonly data: Uint8Array }
  | { readonly type: 'exit'; readonly result: Omit<ExecResult, 'stdout' | 'stderr' | 'droppedBytes'> };

export const commandOf = (command: Command): { shell: string } | { argv: string[] } =>
  typeof command === 'string' ? { shell: command } : { argv: [...command] };

export const outputOf = (event: ExecEvent): ExecOutput =>
  event.type === 'stdout' || event.type === 'stderr'
    ? { type: event.type, data: new Uint8Array(Buffer.from(event.data, 'base64')) }
    : event;
