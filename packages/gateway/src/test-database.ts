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
