import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const checkout = resolve(import.meta.dirname, '../..');

/** Every file that is or will be committed, relative to the checkout. */
export const projectFiles: readonly string[] = execFileSync(
  'git',
  ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
  { cwd: checkout, encoding: 'utf8', maxBuffer: 67_108_864 },
)
  .split('\0')
  .filter((file) => file !== '')
  .filter((file, i, all) => all.indexOf(file) === i)
  .sort();

const cache = new Map<string, string | null>();

/** The text of a file, null when it was deleted but is still in the index. */
export const readProjectFile = (file: string): string | null => {
  const known = cache.get(file);
  if (known !== undefined) return known;
  let text: string | null = null;
  try {
    text = readFileSync(join(checkout, file), 'utf8');
  } catch {
    // Deleted by somebody who has not committed that yet.
  }
  cache.set(file, text);
  return text;
};

export const isTest = (file: string): boolean =>
  /\.(test|suite)\.ts$/.test(file) || file.startsWith('test/') || /\/test\//.test(file);

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Every TypeScript file with its text. */
export const sourceFiles: readonly SourceFile[] = projectFiles
  .filter((file) => file.endsWith('.ts') || file.endsWith('.tsx'))
  .flatMap((path) => {
    const text = readProjectFile(path);
    return text === null ? [] : [{ path, text }];
  });

export interface Import {
  readonly from: string;
  readonly line: number;
}

/**
 * The modules that a file imports, statically, dynamically or by re-export. The formatter makes sure that statements
 * begin a line and that quotes are single; type imports count like others.
 */
export const importsOf = ({ text }: SourceFile): Import[] => {
  const statement = /^\s*(?:import|export)\s(?:[^;'"`]*?\sfrom\s+)?'([^']+)'/gm;
  const dynamic = /\bimport\(\s*'([^']+)'\s*\)/g;
  const bare = /^import\s+'([^']+)'/gm;
  const found = new Map<string, Import>();
  for (const pattern of [statement, dynamic, bare]) {
    for (const match of text.matchAll(pattern)) {
      const line = text.slice(0, match.index).split('\n').length;
      found.set(`${match[1]} ${line}`, { from: match[1] ?? '', line });
    }
  }
  return [...found.values()];
};
