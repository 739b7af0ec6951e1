import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '@holdfast/db';

/** A PostgreSQL of its own with all migrations, gone when disposed of; for tests. */
export const openTestDatabase = async (): Promise<{ database: Database; [Symbol.asyncDispose](): Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  // The server runs as another user when we are root.
  await chmod(folder, 0o755);
  const database = await openDatabase({ embedded: { folder: join(folder, 'data') } });
  return {
    database,
    async [Symbol.asyncDispose]() {
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** The same database seen from several processes: as many connections, each with notifications of its own. */
export const openTestDatabases = async (
  count: number,
): Promise<{ databases: readonly Database[]; [Symbol.asyncDispose](): Promise<void> }> => {
  const first = await openTestDatabase();
  const url = await first.database.url();
  const others: Database[] = [];
  const close = async (): Promise<void> => {
    for (const other of others) await other.close();
    await first[Symbol.asyncDispose]();
  };
  try {
    while (others.length < count - 1) others.push(await openDatabase({ url }));
  } catch (error) {
    await close();
    throw error;
  }
  return { databases: [first.database, ...others], [Symbol.asyncDispose]: close };
};
