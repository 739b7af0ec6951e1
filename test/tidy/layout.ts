/** What each workspace may import of the others. The first match of a path decides. */
export interface Unit {
  readonly name: string;
  /** Folder relative to the checkout. */
  readonly folder: string;
  readonly mayImport: readonly string[];
  /** Folders elsewhere that it may import files of. */
  readonly mayReach?: readonly string[];
  /** What its tests may import on top of that. */
  readonly testsMayImport?: readonly string[];
}

const foundation = ['core', 'contract', 'db', 'identity'] as const;
const layers = ['gateway', 'orchestration', 'tools', 'sandbox', 'observability'] as const;

const layer = (name: string): Unit => ({ name, folder: `packages/${name}`, mayImport: foundation });

/** `core <- contract <- sdk <- cli` and `{core, contract, db, identity} <- layers <- server`; layers never each other. */
export const units: readonly Unit[] = [
  { name: 'core', folder: 'packages/core', mayImport: [] },
  { name: 'contract', folder: 'packages/contract', mayImport: ['core'] },
  { name: 'db', folder: 'packages/db', mayImport: ['core'] },
  { name: 'identity', folder: 'packages/identity', mayImport: ['core', 'contract', 'db'] },
  ...layers.map(layer),
  { name: 'sdk', folder: 'packages/sdk', mayImport: ['core', 'contract'] },
  {
    name: 'server',
    folder: 'apps/server',
    mayImport: [...foundation, ...layers],
    testsMayImport: ['sdk'],
  },
  { name: 'cli', folder: 'apps/cli', mayImport: ['core', 'contract', 'sdk'] },
  { name: 'dashboard', folder: 'apps/dashboard', mayImport: ['core', 'contract', 'sdk'] },
  {
    name: 'examples',
    folder: 'examples',
    mayImport: ['core', 'contract', 'sdk'],
    testsMayImport: [...foundation, ...layers],
  },
  {
    name: 'bench',
    folder: 'bench',
    mayImport: ['core', 'contract', 'sdk', 'sandbox', 'db', 'server'],
    mayReach: ['test/e2e/setup'],
  },
  { name: 'test', folder: 'test', mayImport: [...foundation, ...layers, 'sdk', 'cli', 'server'] },
  { name: 'guest', folder: 'guest', mayImport: ['core', 'sandbox'] },
  { name: 'docs', folder: 'docs', mayImport: ['core', 'contract', 'sdk'] },
];

/** Files that read the environment: the configuration of each program, and nothing else. */
export const readsEnvironment: readonly string[] = [
  'apps/cli/src/configuration.ts',
  'apps/server/src/main.ts',
  'apps/server/src/probe.ts',
];

/** Packages without any input or output of their own: they run in a browser as they are. */
export const withoutNodeModules: readonly string[] = ['packages/core/src', 'packages/contract/src'];

export const bannedNames = /^(utils?|helpers?|common|misc|stuff|lib|shared)$/;

/** Longest source file in lines, and those that may be longer, each with the reason. */
export const maxFileLines = 400;
export const longFiles: Readonly<Record<string, string>> = {
  'packages/contract/src/sandbox.ts': 'one table of routes, read as a whole; splitting it would hide the group',
  'packages/db/src/schema.ts': 'generated',
};

export const allowedLicences: readonly string[] = [
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'MIT OR Apache-2.0',
  'BlueOak-1.0.0',
  'Public Domain',
  'Unlicense',
  '(AFL-2.1 OR BSD-3-Clause)',
];
