import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import type { Run } from '../command.ts';
import { checkout } from '../configuration.ts';
import { connect, serverAddress } from '../context.ts';
import { runProgramFile } from '../program-process.ts';
import { templateReady } from '../template-progress.ts';
import { withServer } from './server.ts';

const program = join(checkout, 'examples/fix-failing-test/demo.ts');

export const demo: Run<{ json?: boolean }> = async (context, _args, { json = false }) => {
  if (!existsSync(program)) throw new HoldfastError('cli.program_failed', `${program} is missing.`, { program });
  return withServer(context, async () => {
    const { url, apiKey } = serverAddress(context);
    await templateReady(await connect(context), 'base', context.output);
    const { inherited, home } = context.configuration;
    return runProgramFile(program, json ? ['--json'] : [], {
      ...inherited,
      HOLDFAST_HOME: home,
      HOLDFAST_URL: url,
      ...(apiKey === null ? {} : { HOLDFAST_API_KEY: apiKey }),
    });
  });
};
