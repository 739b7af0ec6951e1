import { createHash } from 'node:crypto';

/** What a template is made of. Equal recipes give the same key, and so the same files. */
export interface TemplateRecipe {
  readonly name: string;
  /** Debian release. */
  readonly suite: string;
  readonly packages: readonly string[];
  /** Shell commands run on the host with the root folder in `$1`, after the packages are in. */
  readonly commands: readonly string[];
  /** Run in the guest before it is frozen, so that their pages are in its page cache. */
  readonly warmUp: readonly string[];
  /** Size of the writable disk in MiB. */
  readonly diskMib: number;
}

/** Raised when the way templates are built changes, so that all are rebuilt. */
const builderVersion = 2;

export const baseRecipe: TemplateRecipe = {
  name: 'base',
  suite: 'bookworm',
  packages: [
    'python3',
    'git',
    'curl',
    'ripgrep',
    'ca-certificates',
    'procps',
    'less',
    'file',
    'jq',
    'unzip',
    'zip',
    'xz-utils',
    'zstd',
    'iproute2',
    'patch',
    'make',
    'diffutils',
    'passwd',
    'netcat-openbsd',
  ],
  commands: [],
  warmUp: [
    'ls -la / >/dev/null; cat /etc/passwd | sort | head -1 >/dev/null; grep -r root /etc/passwd >/dev/null; find /etc -maxdepth 1 >/dev/null',
    'python3 -c "import json, os, sys, subprocess, re"',
    "node -e \"require('node:test'); require('node:fs')\"",
    'cd /tmp && git init -q warm && cd warm && echo a > a && git add a && git -c user.name=a -c user.email=a@localhost commit -qm a && git status --short && git diff && cd .. && rm -rf warm',
    'rg -q root /etc/passwd; ps ax >/dev/null; tar c /etc/hostname 2>/dev/null | cat >/dev/null',
  ],
  diskMib: 8192,
};

/** Short stable name of everything that goes into a template. `parts` are the agent's and Node's checksums and the like. */
export function recipeKey(recipe: TemplateRecipe, parts: readonly string[]): string {
  const text = JSON.stringify([builderVersion, recipe, parts]);
  return `${recipe.name}-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}
