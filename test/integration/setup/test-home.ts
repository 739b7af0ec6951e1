import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestHome extends AsyncDisposable {
  readonly path: string;
}

/** No machine is made ready for these tests: they are about everything around the machines. */
const quiet = { logLevel: 'error', sandbox: { warmTiersMib: [], pool: { least: 0, most: 0 } } };

/** A data folder of its own, gone when disposed of. */
export const makeHome = async (config: Readonly<Record<string, unknown>> = {}): Promise<TestHome> => {
  const parent = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  await chmod(parent, 0o700);
  const path = join(parent, 'home');
  await mkdir(path, { mode: 0o700 });
  await writeFile(join(path, 'config.json'), JSON.stringify({ ...quiet, ...config }));
  return { path, [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }) };
};
