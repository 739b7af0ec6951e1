import { printable } from '@holdfast/contract';
import type { Command } from 'commander';
import type { Run } from '../command.ts';
import { candidatesFor, type Lookup } from '../completion/candidates.ts';
import { type Shell, scripts } from '../completion/scripts.ts';
import { type Context, connect } from '../context.ts';
import { gatewayCandidates } from './gateway/candidates.ts';

/** A press of the tab key waits no longer. */
const patienceMs = 1_000;

const isShell = (name: string): name is Shell => Object.hasOwn(scripts, name);

export const printScript: Run<object> = async ({ output }, [shell = '']) => {
  if (isShell(shell)) output.result({ shell, script: scripts[shell] }, ({ script }) => script);
};

const lookupOf =
  (context: Context): Lookup =>
  async (kind) => {
    if (kind === 'bench') {
      const { benchNames } = await import('./bench.ts');
      return benchNames().map((word) => ({ word, description: '' }));
    }
    const client = await connect(context);
    const options = { signal: AbortSignal.timeout(patienceMs) };
    if (kind === 'sandbox') {
      const { items } = await client.listSandboxes({ query: { limit: 1000 } }, options);
      return items.map((s) => ({ word: s.name ?? s.id, description: s.state }));
    }
    if (kind === 'key') {
      const { items } = await client.listKeys({ query: { limit: 1000 } }, options);
      return items.filter((k) => k.revokedAt === null).map((k) => ({ word: k.id, description: k.name }));
    }
    if (kind === 'trace') {
      const { items } = await client.listTraces({ query: { limit: 100 } }, options);
      return items.map((t) => ({ word: t.id, description: t.name }));
    }
    return gatewayCandidates(client, kind, options);
  };

/** Prints `word<TAB>description` lines. Without a server there are simply no names. */
export const printCandidates =
  (program: Command): Run<object> =>
  async (context, words) => {
    const found = await candidatesFor(program, words, async (kind) => {
      try {
        return await lookupOf(context)(kind);
      } catch {
        return [];
      }
    });
    context.output.result({ items: found }, ({ items }) =>
      items.map(({ word, description }) => `${printable(word)}\t${printable(description)}`).join('\n'),
    );
  };
