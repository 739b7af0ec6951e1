import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import type { Identity } from '@holdfast/identity';
import { writePrivateFile } from './home.ts';

const isValid = async (identity: Identity, key: string): Promise<boolean> => {
  try {
    await identity.authenticate(key);
    return true;
  } catch (error) {
    if (error instanceof HoldfastError && error.code.startsWith('auth.')) return false;
    throw error;
  }
};

/**
 * Leaves an owner key in `<home>/credentials` (0600) for the command line of this user: on first use, and again when the
 * one there is lost or no longer valid, such as after a change of database.
 */
export const ensureCredentials = async (home: string, identity: Identity): Promise<void> => {
  const path = join(home, 'credentials');
  const kept = await readFile(path, 'utf8').catch(() => '');
  if (kept.trim() !== '' && (await isValid(identity, kept.trim()))) return;
  const key = await identity.issueOwnerKey('command line');
  await writePrivateFile(path, `${key.reveal()}\n`);
};
