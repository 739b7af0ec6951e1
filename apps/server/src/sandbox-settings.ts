import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import type { SandboxSettings } from '@holdfast/sandbox';
import type { Config } from './config.ts';

const repository = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

export const sandboxSettings = (config: Config): SandboxSettings => ({
  sources: { guest: repository('guest'), native: repository('packages/sandbox/native') },
  nodePath: execPath,
  ...config.sandbox,
});
