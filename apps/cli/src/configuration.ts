import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { HoldfastError, Secret } from '@holdfast/core';
import { z } from 'zod';

/** The checkout that this command belongs to. */
export const checkout = resolve(import.meta.dirname, '../../..');

/** Longest file of settings that is read. */
const maxFileBytes = 65_536;

const environment = z.object({
  HOLDFAST_HOME: z.string().min(1).max(4096).optional(),
  HOLDFAST_URL: z.url({ protocol: /^https?$/ }).optional(),
  HOLDFAST_API_KEY: z.string().min(1).max(512).optional(),
  HOLDFAST_PORT: z.string().optional(),
  HOLDFAST_DEBUG: z.string().optional(),
  DATABASE_URL: z.string().optional(),
  NO_COLOR: z.string().optional(),
});

const serverRecord = z.object({ url: z.url(), pid: z.number().int().min(2) });
export type ServerRecord = z.output<typeof serverRecord>;

export interface Configuration {
  /** The data folder, absolute. */
  readonly home: string;
  /** HOLDFAST_URL: a server that this machine did not start. */
  readonly url: string | null;
  readonly apiKey: Secret | null;
  /** Show stacks of errors. */
  readonly debug: boolean;
  readonly color: boolean;
  /** True when DATABASE_URL names a PostgreSQL outside. */
  readonly outsideDatabase: boolean;
  /** What child processes inherit. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
}

/** Reads the environment, the only place of the CLI that does. Throws `config.invalid` naming the variable. */
export const readConfiguration = (env: Readonly<Record<string, string | undefined>> = process.env): Configuration => {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const variable = issue?.path.join('.') ?? '';
    throw new HoldfastError('config.invalid', `${variable}: ${issue?.message ?? 'not valid'}.`, { variable });
  }
  const values = parsed.data;
  return {
    home: resolve(values.HOLDFAST_HOME ?? join(homedir(), '.holdfast')),
    url: values.HOLDFAST_URL ?? null,
    apiKey: values.HOLDFAST_API_KEY === undefined ? null : new Secret(values.HOLDFAST_API_KEY),
    debug: values.HOLDFAST_DEBUG !== undefined,
    color: values.NO_COLOR === undefined,
    outsideDatabase: values.DATABASE_URL !== undefined,
    inherited: { ...env },
  };
};

const readText = (file: string): string | null => {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length > maxFileBytes) throw new HoldfastError('config.invalid', `${file} is too long.`, { file });
    return text;
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new HoldfastError('config.invalid', `${file} cannot be read.`, { file, reason: String(code) });
  }
};

/** What a running server wrote about itself, null when none did; the process may be gone all the same. */
export const readServerRecord = (home: string): ServerRecord | null => {
  const file = join(home, 'server.json');
  const text = readText(file);
  if (text === null) return null;
  try {
    return serverRecord.parse(JSON.parse(text));
  } catch (cause) {
    throw new HoldfastError('config.invalid', `${file} is not what a server writes.`, { file }, { cause });
  }
};

/** The key that the server left for this machine's owner, null when there is none. */
export const readCredentials = (home: string): Secret | null => {
  const text = readText(join(home, 'credentials'))?.trim();
  return text === undefined || text === '' ? null : new Secret(text);
};

/** Whether stacks are wanted; readable even when the rest of the environment is not valid. */
export const debugWanted = (): boolean => (process.env['HOLDFAST_DEBUG'] ?? '') !== '';
