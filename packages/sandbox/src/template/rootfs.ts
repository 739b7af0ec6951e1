import { rm } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/core';
import { runCommand } from '../host/command.ts';
import type { TemplateRecipe } from './recipe.ts';

/** Folders that hold nothing a program needs at run time. */
const leftOut = ['/usr/share/doc', '/usr/share/man', '/usr/share/locale', '/usr/share/info', '/usr/share/lintian'];

/**
 * Builds the read-only root file system of a recipe: Debian packages by mmdebstrap, packed into EROFS.
 * Everything below the target happens in mmdebstrap's hooks, so that it works as root and in a user namespace alike.
 * `onProgress` gets a fraction from 0 to 1.
 */
export async function buildRootfs(
  recipe: TemplateRecipe,
  output: string,
  nodePath: string,
  onProgress: (fraction: number) => void,
): Promise<void> {
  await rm(output, { force: true });
  const args = ['--format=null', '--variant=minbase'];
  if (recipe.packages.length > 0) args.push(`--include=${recipe.packages.join(',')}`);
  args.push('--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"');
  for (const folder of leftOut) args.push(`--dpkgopt=path-exclude=${folder}/*`);
  args.push(`--customize-hook=upload ${nodePath} /usr/local/bin/node`);
  for (const command of customizeCommands(recipe)) args.push(`--customize-hook=${command}`);
  args.push(`--customize-hook=download /.root.erofs ${output}`, recipe.suite, '-');
  const meter = progressMeter(onProgress);
  try {
    await runCommand('mmdebstrap', args, { timeoutMs: 1_800_000, onOutput: meter });
  } catch (error) {
    await rm(output, { force: true });
    throw new HoldfastError(
      'template.build_failed',
      `Building the root file system of template ${recipe.name} failed.`,
      error instanceof HoldfastError ? error.details : {},
      { cause: error },
    );
  }
}

function customizeCommands(recipe: TemplateRecipe): string[] {
  return [
    'chmod 755 "$1/usr/local/bin/node"',
    'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash agent',
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/dpkg/*-old "$1"/usr/lib/python3*/__pycache__',
    'rm -f "$1/etc/machine-id" "$1/etc/hostname" "$1/etc/resolv.conf"',
    ': > "$1/etc/machine-id"; echo sandbox > "$1/etc/hostname"; printf "127.0.0.1 localhost sandbox\\n::1 localhost\\n" > "$1/etc/hosts"',
    'mkdir -p "$1/workspace"; chmod 755 "$1/workspace"',
    ...recipe.commands,
    // A bind mount that is not recursive leaves out what is mounted below, such as /proc.
    'view=$(mktemp -d) && mount --bind "$1" "$view" && mkfs.erofs -zlz4 -T0 --exclude-path=.root.erofs "$1/.root.erofs" "$view" && umount "$view" && rmdir "$view"',
  ];
}

/** mmdebstrap reports no fraction, so its milestones stand for the share of the time that was measured up to them. */
const milestones = [
  ['running apt-get update', 0.02],
  ['downloading packages', 0.1],
  ['extracting archives', 0.3],
  ['installing essential', 0.45],
  ['installing remaining', 0.6],
  ['special hook', 0.85],
  ['mkfs.erofs', 0.93],
] as const;

function progressMeter(onProgress: (fraction: number) => void): (text: string) => void {
  return (text) => {
    for (const [words, fraction] of milestones) if (text.includes(words)) onProgress(fraction);
  };
}
