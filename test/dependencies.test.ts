import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowedLicences } from './tidy/layout.ts';
import { projectFiles, readProjectFile } from './tidy/source-files.ts';

interface Manifest {
  readonly name?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const manifests = projectFiles
  .filter((file) => /^((packages|apps|examples)\/[^/]+\/)?package\.json$/.test(file))
  .map((file): { file: string; manifest: Manifest } => ({ file, manifest: JSON.parse(readProjectFile(file) ?? '{}') }));

const wanted = manifests.flatMap(({ file, manifest }) =>
  Object.entries({
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  }).map(([name, version]) => ({ file, name, version })),
);
const outside = wanted.filter(({ name }) => !name.startsWith('@holdfast/'));

/** Rows `| name | licence | why |` of the tables of docs/dependencies.md. */
const documented = new Map(
  (readProjectFile('docs/dependencies.md') ?? '')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => /^`[^`]+`$/.test(cells[1] ?? ''))
    .map((cells) => [(cells[1] ?? '').slice(1, -1), { licence: cells[2] ?? '', why: cells[3] ?? '' }]),
);

test('[R-dependencies-known] every npm dependency is pinned to one version', () => {
  const loose = wanted.filter(({ version }) => !/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version));
  assert.deepEqual(loose, []);
  assert.ok(outside.length > 5, 'the manifests were found');
  const versions = new Map<string, string>();
  for (const { name, version, file } of wanted) {
    assert.equal(versions.get(name) ?? version, version, `${file} asks for another version of ${name}`);
    versions.set(name, version);
  }
});

test('[R-dependencies-known] every npm dependency is in docs/dependencies.md with a reason and an allowed licence', () => {
  const names = [...new Set(outside.map(({ name }) => name))].sort();
  assert.deepEqual(
    names.filter((name) => !documented.has(name)),
    [],
    'Not in docs/dependencies.md',
  );
  for (const name of names) {
    const { licence = '', why = '' } = documented.get(name) ?? {};
    assert.ok(allowedLicences.includes(licence), `${name}: licence "${licence}"`);
    assert.ok(why.length > 15, `${name}: "${why}" is no reason`);
  }
});

test('[R-dependencies-known] docs/dependencies.md names nothing that is not used', () => {
  const launcher = readProjectFile('holdfast') ?? '';
  const unused = [...documented.keys()].filter(
    (name) => !outside.some((dependency) => dependency.name === name) && !launcher.includes(name),
  );
  assert.deepEqual(unused, []);
});

test('[R-dependencies-known] every package of the lock file has an allowed licence and a checksum', () => {
  const lock: {
    packages: Record<string, { link?: boolean; license?: string; integrity?: string; version?: string }>;
  } = JSON.parse(readProjectFile('package-lock.json') ?? '{}');
  const installed = Object.entries(lock.packages).filter(
    ([path, entry]) => path.includes('node_modules/') && entry.link !== true,
  );
  assert.ok(installed.length > 20, 'the lock file was read');
  assert.deepEqual(
    installed
      .filter(([, entry]) => !allowedLicences.includes(entry.license ?? ''))
      .map(([path, e]) => [path, e.license]),
    [],
  );
  assert.deepEqual(
    installed.filter(([, entry]) => entry.integrity === undefined).map(([path]) => path),
    [],
  );
});

test('[R-dependencies-known] the lock file says what the manifests say', () => {
  const lock: { packages: Record<string, Manifest> } = JSON.parse(readProjectFile('package-lock.json') ?? '{}');
  for (const { file, manifest } of manifests) {
    const folder = file === 'package.json' ? '' : file.slice(0, -'/package.json'.length);
    const locked = lock.packages[folder];
    assert.ok(locked, `${folder} is not in the lock file`);
    assert.deepEqual(locked.dependencies ?? {}, manifest.dependencies ?? {}, file);
    assert.deepEqual(locked.devDependencies ?? {}, manifest.devDependencies ?? {}, file);
  }
});

test('every manifest says that the project is under Apache-2.0', () => {
  for (const { file, manifest } of manifests) assert.equal(manifest.license, 'Apache-2.0', file);
});
