import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HoldfastError, newId, Secret } from '@holdfast/core';
import { type Database, type Migration, openDatabase, readMigrations } from '@holdfast/db';
import pg from 'pg';
import { eventually } from './setup/eventually.ts';

const parents: string[] = [];

const makeFolder = async (): Promise<string> => {
  const parent = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  // As under a home folder of root: nobody else gets past it.
  await chmod(parent, 0o700);
  parents.push(parent);
  return join(parent, 'postgres');
};

after(async () => {
  for (const parent of parents) await rm(parent, { recursive: true, force: true });
});

const postmasterPid = async (folder: string): Promise<number | null> => {
  const text = await readFile(join(folder, 'cluster', 'data', 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  return Number.isNaN(pid) ? null : pid;
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const livePid = async (folder: string): Promise<number> => {
  const pid = await postmasterPid(folder);
  assert.ok(pid !== null && isAlive(pid), 'no postmaster runs');
  return pid;
};

const addWorkspace = async (database: Database, name: string): Promise<void> => {
  await database.kysely
    .insertInto('workspaces')
    .values({ id: newId('ws'), name, created_at: new Date() })
    .execute();
};

const workspaceNames = async (database: Database): Promise<string[]> =>
  (await database.kysely.selectFrom('workspaces').select('name').orderBy('name').execute()).map((row) => row.name);

const isUnreachable = (error: unknown): boolean =>
  error instanceof HoldfastError && error.code === 'database.unreachable';

/** Another process with the database open; it says so, and lives until it is told or killed. */
const openElsewhere = async (folder: string): Promise<ChildProcess> => {
  const program = new URL('./setup/database-holder.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
};

test('[R-database-never-root] PostgreSQL runs under an unprivileged user, below folders that user cannot enter', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    const pid = await livePid(folder);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const uids = /^Uid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
    assert.equal(uids.length, 4);
    for (const uid of uids) assert.notEqual(uid, '0');
    assert.match(status, /^CapEff:\s+0+$/m);
    assert.equal((await stat(join(folder, 'password'))).mode & 0o777, 0o600);
    assert.equal((await stat(join(folder, 'cluster', 'data'))).mode & 0o077, 0);
  } finally {
    await database.close();
  }
});

test('[R-database-never-root] connecting needs the password', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    const url = new URL((await database.url()).reveal());
    assert.equal(url.hostname, '127.0.0.1');
    url.password = 'wrong';
    await assert.rejects(openDatabase({ url: new Secret(url.href) }), /password authentication failed/);
  } finally {
    await database.close();
  }
});

test('[R-database-shared] who comes second joins, who leaves last stops', async () => {
  const folder = await makeFolder();
  const one = await openDatabase({ embedded: { folder } });
  const pid = await livePid(folder);
  const other = await openElsewhere(folder);
  assert.equal(await livePid(folder), pid);
  await one.close();
  assert.ok(isAlive(pid), 'stopped under another user');
  other.stdin?.end();
  await once(other, 'exit');
  assert.ok(!isAlive(pid), 'left running by the last user');
  assert.equal(await postmasterPid(folder), null, 'not stopped cleanly');
});

test('[R-database-shared] starters at the same moment do not clash', async () => {
  const folder = await makeFolder();
  const opened = await Promise.all([
    openDatabase({ embedded: { folder } }),
    openDatabase({ embedded: { folder } }),
    openElsewhere(folder),
    openElsewhere(folder),
  ]);
  const [one, two, three, four] = opened;
  await addWorkspace(one, 'seen-by-all');
  assert.deepEqual(await workspaceNames(two), ['seen-by-all']);
  for (const child of [three, four]) {
    child.stdin?.end();
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
  }
  await one.close();
  await two.close();
  assert.equal(await postmasterPid(folder), null);
});

test('[R-database-recovers] kill -9 of PostgreSQL: it comes back, queries wait, what was committed is there', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    let returned = -1;
    database.listen('holdfast_test', { message: () => undefined, reset: () => (returned += 1) });
    await eventually(() => returned === 0, 'listening began');
    for (let round = 0; round < 3; round += 1) {
      await addWorkspace(database, `round-${round}`);
      const pid = await livePid(folder);
      process.kill(pid, 'SIGKILL');
      const expected = ['round-0', 'round-1', 'round-2'].slice(0, round + 1);
      // At once, and again when it is back: neither may fail.
      assert.deepEqual(await workspaceNames(database), expected);
      await eventually(async () => ![null, pid].includes(await postmasterPid(folder)), 'a new postmaster');
      assert.deepEqual(await workspaceNames(database), expected);
      await eventually(() => returned === round + 1, 'this process knows that it is back');
    }
  } finally {
    await database.close();
  }
});

test('[R-database-recovers] PostgreSQL is restarted without anyone asking it something', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    let missed = 0;
    database.listen('holdfast_test', { message: () => undefined, reset: () => (missed += 1) });
    await eventually(() => missed === 1, 'listening began');
    const pid = await livePid(folder);
    process.kill(pid, 'SIGKILL');
    await eventually(async () => ![null, pid].includes(await postmasterPid(folder)), 'a new postmaster');
    await eventually(() => missed === 2, 'the listener was told that it may have missed something');
  } finally {
    await database.close();
  }
});

test('[R-database-recovers] a server that was killed leaves PostgreSQL to the next', async () => {
  const folder = await makeFolder();
  const child = await openElsewhere(folder);
  const pid = await livePid(folder);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(isAlive(pid));
  const database = await openDatabase({ embedded: { folder } });
  assert.equal(await livePid(folder), pid, 'not adopted');
  await database.close();
  // Its parent was killed, so it stays in the list of processes until the first of all has taken note.
  await eventually(() => !isAlive(pid), 'PostgreSQL has ended');
});

test('[R-database-recovers] a postmaster.pid whose number belongs to another process now does not matter', async () => {
  const folder = await makeFolder();
  await (await openDatabase({ embedded: { folder } })).close();
  const stale = `${process.pid}\n/nowhere\n1\n1\n\n127.0.0.1\n1 1\nready\n`;
  await writeFile(join(folder, 'cluster', 'data', 'postmaster.pid'), stale);
  const database = await openDatabase({ embedded: { folder } });
  assert.notEqual(await livePid(folder), process.pid);
  await database.close();
});

test('[R-database-recovers] a first start that was cut short is done again', async () => {
  const folder = await makeFolder();
  const child = spawn(process.execPath, [new URL('./setup/database-holder.ts', import.meta.url).pathname, folder], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  await eventually(
    () =>
      stat(join(folder, 'cluster')).then(
        () => true,
        () => false,
      ),
    'the first start is under way',
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  const database = await openDatabase({ embedded: { folder } });
  await addWorkspace(database, 'alive');
  await database.close();
});

test('[R-migrations-forward] they run once, also when many processes start at once', async () => {
  const folder = await makeFolder();
  const first = await openDatabase({ embedded: { folder } });
  try {
    const url = await first.url();
    const again = await Promise.all([1, 2, 3].map(() => openDatabase({ url })));
    await Promise.all(again.map((database) => database.close()));
    const { rows } = await sqlOf(first, 'select version, name from schema_migrations order by version');
    const expected = (await readMigrations()).map(({ version, name }) => ({ version, name }));
    assert.deepEqual(rows, expected);
  } finally {
    await first.close();
  }
});

const sqlOf = async (database: Database, text: string): Promise<{ rows: unknown[] }> => {
  const client = new pg.Client({ connectionString: (await database.url()).reveal() });
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
};

test('[R-migrations-forward] changed, unknown and failing ones are refused with a reason', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    const url = await database.url();
    const real = await readMigrations();
    const open = (migrations: readonly Migration[]): Promise<Database> => openDatabase({ url, migrations });
    const code = (wanted: string) => (error: unknown) => error instanceof HoldfastError && error.code === wanted;
    const [one, ...rest] = real;
    assert.ok(one !== undefined);
    await assert.rejects(open([{ ...one, checksum: 'other' }, ...rest]), code('database.migration_changed'));
    await assert.rejects(open([one]), code('database.schema_newer'));
    const bad = { version: 900, name: 'bad', sql: 'create table half (id int); select 1 / 0', checksum: 'x' };
    await assert.rejects(open([...real, bad]), code('database.migration_failed'));
    const { rows } = await sqlOf(database, "select to_regclass('half') as half");
    assert.deepEqual(rows, [{ half: null }], 'a migration that failed left something behind');
  } finally {
    await database.close();
  }
});

test('[R-startup-explains] a database that cannot be reached is an error that says so', async () => {
  await assert.rejects(openDatabase({ url: new Secret('postgresql://u:p@127.0.0.1:1/x') }), isUnreachable);
});

test('[R-audit-append-only] the audit log refuses changes', async () => {
  const folder = await makeFolder();
  const database = await openDatabase({ embedded: { folder } });
  try {
    await addWorkspace(database, 'w');
    const { id } = await database.kysely.selectFrom('workspaces').select('id').executeTakeFirstOrThrow();
    const entry = { workspace_id: id, at: new Date(), action: 'a', target: 't' };
    await database.kysely.insertInto('audit_log').values(entry).execute();
    for (const statement of ["update audit_log set action = 'b'", 'delete from audit_log', 'truncate audit_log'])
      await assert.rejects(sqlOf(database, statement), /append-only/);
  } finally {
    await database.close();
  }
});
