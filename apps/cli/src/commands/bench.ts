import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import type { Run } from '../command.ts';
import { checkout } from '../configuration.ts';
import { runProgramFile } from '../program-process.ts';

const folder = join(checkout, 'bench');

/** Names of the benchmarks that there are. */
export const benchNames = (): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();

export const bench: Run<{ json?: boolean; smoke?: boolean }> = async (context, [name = ''], options) => {
  const names = benchNames();
  if (!names.includes(name)) {
    throw new HoldfastError('cli.usage', `There is no benchmark "${name}"; there are: ${names.join(', ')}.`, { names });
  }
  const flags = [...(options.json === true ? ['--json'] : []), ...(options.smoke === true ? ['--smoke'] : [])];
  const { inherited, home } = context.configuration;
  return runProgramFile(join(folder, `${name}.ts`), flags, { ...inherited, HOLDFAST_HOME: home });
};
