import assert from 'node:assert/strict';
import { basename, dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { requirements } from './requirements.ts';
import {
  bannedNames,
  longFiles,
  maxFileLines,
  readsEnvironment,
  type Unit,
  units,
  withoutNodeModules,
} from './tidy/layout.ts';
import { importsOf, isTest, projectFiles, readProjectFile, type SourceFile, sourceFiles } from './tidy/source-files.ts';

/** Fails with every offence at once, so that one run shows them all. */
const assertNone = (offences: readonly string[], rule: string): void =>
  assert.deepEqual(offences, [], `${rule}\n${offences.join('\n')}\n`);

const unitOf = (path: string): Unit | undefined => units.find(({ folder }) => path.startsWith(`${folder}/`));

/** Null when the import is fine, else what is wrong with it. */
const wrongImport = (file: SourceFile, unit: Unit, from: string): string | null => {
  if (from.startsWith('.')) {
    const target = normalize(join(dirname(file.path), from));
    const own = unit.folder === 'examples' ? dirname(file.path).split('/').slice(0, 2).join('/') : unit.folder;
    const allowed = [own, ...(unit.mayReach ?? [])];
    return allowed.some((folder) => target.startsWith(`${folder}/`)) ? null : `reaches out of ${own}`;
  }
  const [, name, ...rest] = /^@holdfast\/([^/]+)(.*)$/.exec(from) ?? [];
  if (name === undefined) return null;
  if (rest.join('') !== '') return 'imports more than the index of a package';
  const allowed = [...unit.mayImport, ...(isTest(file.path) ? (unit.testsMayImport ?? []) : [])];
  return allowed.includes(name) || name === unit.name ? null : `${unit.name} may not import ${name}`;
};

test('[R-layout-direction] every import follows the direction table', () => {
  const offences = sourceFiles.flatMap((file) => {
    const unit = unitOf(file.path);
    if (unit === undefined) return [`${file.path}: belongs to no unit of the layout`];
    return importsOf(file).flatMap(({ from, line }) => {
      const wrong = wrongImport(file, unit, from);
      return wrong === null ? [] : [`${file.path}:${line}: ${from}: ${wrong}`];
    });
  });
  assertNone(offences, 'Imports against the direction of the layout:');
  assert.ok(sourceFiles.length > 50, 'the files of the project were found');
});

test('[R-layout-direction] the table itself refuses what it must', () => {
  const gateway = unitOf('packages/gateway/src/x.ts');
  assert.ok(gateway);
  const file = { path: 'packages/gateway/src/x.ts', text: '' };
  assert.match(wrongImport(file, gateway, '@holdfast/sandbox') ?? '', /may not import/);
  assert.match(wrongImport(file, gateway, '../../sandbox/src/index.ts') ?? '', /reaches out/);
  assert.match(wrongImport(file, gateway, '@holdfast/core/src/errors.ts') ?? '', /index/);
  assert.equal(wrongImport(file, gateway, '@holdfast/core'), null);
  assert.equal(wrongImport(file, gateway, './y.ts'), null);
  const text =
    "import type { a } from './a.ts';\nexport {\n  b,\n} from './b.ts';\nimport './c.ts';\nawait import('./d.ts');\n";
  assert.deepEqual(
    importsOf({ path: 'x.ts', text })
      .map(({ from }) => from)
      .sort(),
    ['./a.ts', './b.ts', './c.ts', './d.ts'],
  );
});

test('[R-layout-direction] core and contract import no module of Node', () => {
  const offences = sourceFiles
    .filter(({ path }) => !isTest(path) && withoutNodeModules.some((folder) => path.startsWith(`${folder}/`)))
    .flatMap((file) => importsOf(file).map(({ from, line }) => ({ file, from, line })))
    .filter(({ from }) => from.startsWith('node:') || from === 'ws' || from === 'pg')
    .map(({ file, from, line }) => `${file.path}:${line}: ${from}`);
  assertNone(offences, 'These run in browsers too:');
});

test('[R-one-configuration] only the configuration modules read the environment', () => {
  const offences = sourceFiles
    .filter(({ path }) => /^(packages|apps)\//.test(path) && !isTest(path) && !readsEnvironment.includes(path))
    .filter(({ text }) => /\bprocess\.env\b|\benv\b[^\n]*from 'node:process'/.test(text))
    .map(({ path }) => path);
  assertNone(offences, 'These read process.env:');
});

test('source files are short', () => {
  const isLong = ({ path, text }: SourceFile) => !isTest(path) && text.split('\n').length - 1 > maxFileLines;
  const long = sourceFiles.filter(isLong).map(({ path }) => path);
  assertNone(
    long.filter((path) => !Object.hasOwn(longFiles, path)),
    `Longer than ${maxFileLines} lines:`,
  );
  assertNone(
    Object.keys(longFiles).filter((path) => path !== 'packages/db/src/schema.ts' && !long.includes(path)),
    'Excused, but no longer too long or no longer there:',
  );
});

test('functions are short: the linter is set to count their lines', () => {
  const config = readProjectFile('.oxlintrc.json') ?? '';
  const { rules } = JSON.parse(config);
  assert.deepEqual(rules['eslint/max-lines-per-function'], [
    'error',
    { max: 70, skipBlankLines: true, skipComments: true },
  ]);
});

test('files are named in kebab-case, by nouns that say something', () => {
  const named = sourceFiles.flatMap(({ path }) => {
    const name = basename(path).replace(/(\.test|\.suite|\.d)?\.tsx?$/, '');
    const folders = dirname(path).split('/');
    const offences: string[] = [];
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) offences.push(`${path}: not in kebab-case`);
    for (const part of [name, ...folders]) if (bannedNames.test(part)) offences.push(`${path}: "${part}" says nothing`);
    return offences;
  });
  assertNone(named, 'Names:');
});

test('nothing silences the compiler', () => {
  const silencers: readonly (readonly [RegExp, string])[] = [
    [/\bas unknown as\b/, 'as unknown as'],
    [/\bas any\b|[:<]\s*any\b(?!\w)/, 'any'],
    [/@ts-(ignore|nocheck|expect-error)/, '@ts-…'],
    [/eslint-disable|oxlint-disable/, 'a disabled rule'],
  ];
  const offences = sourceFiles
    .filter(({ path }) => !path.startsWith('test/tidy'))
    .flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, i) => {
        const code = line.replace(/'(?:[^'\\]|\\.)*'|`[^`]*`|\/\*.*?\*\/|\/\/.*$|^\s*\*.*$/g, (part) =>
          /disable|@ts-/.test(part) ? part : '',
        );
        return silencers.filter(([pattern]) => pattern.test(code)).map(([, what]) => `${path}:${i + 1}: ${what}`);
      }),
    );
  assertNone(offences, 'Correct the types instead:');
});

const citation = /\[(R-[a-z0-9-]+)\]/g;

test('tests cite requirements that exist, and every requirement is cited', () => {
  const cited = new Set<string>();
  const unknown: string[] = [];
  for (const { path, text } of sourceFiles.filter(
    (file) => isTest(file.path) && file.path !== 'test/requirements.ts',
  )) {
    for (const [, id = ''] of text.matchAll(citation)) {
      cited.add(id);
      if (!Object.hasOwn(requirements, id)) unknown.push(`${path}: ${id}`);
    }
  }
  assertNone(unknown, 'Not in test/requirements.ts:');
  assertNone(
    Object.keys(requirements).filter((id) => !cited.has(id)),
    'Promised, but no test cites it:',
  );
});

test('nothing that is built or private is committed', () => {
  const offences = projectFiles.filter((file) =>
    /(^|\/)(node_modules|\.env|credentials|server\.json)(\/|$)|\.(pem|key|log|orig|rej)$/.test(file),
  );
  assertNone(offences, 'These do not belong here:');
});
