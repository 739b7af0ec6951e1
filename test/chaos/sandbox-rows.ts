import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';

const row = z.object({
  id: z.string(),
  name: z.string().nullable(),
  state: z.string(),
  disk_chain: z.array(z.string()),
  ram_chain: z.array(z.string()),
  snapshot_id: z.string().nullable(),
  machine_id: z.string().nullable(),
});

export type Row = z.output<typeof row>;

/**
 * What the database says, read past the server and without anything that would start the database: whether that comes back is the
 * server's part. Null while it is away.
 */
export async function readRows(home: string): Promise<Row[] | null> {
  const folder = join(home, 'postgres');
  const password = (await readFile(join(folder, 'password'), 'utf8')).trim();
  const file = await readFile(join(folder, 'cluster/data/postmaster.pid'), 'utf8').catch(() => '');
  const port = Number(file.split('\n')[3]);
  if (!Number.isInteger(port) || port <= 0) return null;
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, user: 'holdfast', database: 'holdfast', password },
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query('select * from sandboxes');
    return z.array(row).parse(rows);
  } catch (error) {
    if (error instanceof z.ZodError) throw error;
    return null;
  } finally {
    await client.end().catch(() => undefined);
  }
}
