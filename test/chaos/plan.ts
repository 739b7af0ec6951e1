import { type FaultPoint, faultPoints } from '@holdfast/sandbox';
import type { Random } from './random.ts';

/** A kill under a server that lives on. */
export type InnerKill = 'machine' | 'postgres';

/** How one run of the server ends. */
export type Ending =
  | { readonly kind: 'point'; readonly point: FaultPoint; readonly count: number }
  | { readonly kind: 'server'; readonly afterMs: number }
  | { readonly kind: 'start'; readonly afterMs: number }
  | { readonly kind: 'everything'; readonly afterMs: number };

export interface Life {
  /** Each after so many milliseconds of work. */
  readonly inner: readonly { readonly kind: InnerKill; readonly afterMs: number }[];
  readonly ending: Ending;
}

const mostWorkMs = 1_200;
const mostStartMs = 1_500;

/** Of each ten kills beyond the fault points. */
const mix: readonly (InnerKill | Exclude<Ending['kind'], 'point'>)[] = [
  ...(['server', 'machine', 'postgres', 'server', 'machine', 'start'] as const),
  ...(['machine', 'postgres', 'everything', 'server'] as const),
];

/** So many kills, every fault point among them, in random order. */
export function planOf(random: Random, kills: number): Life[] {
  const rounds = Math.max(1, Math.floor(kills / 2 / faultPoints.length));
  const points = Array.from({ length: rounds }, (_, round) =>
    faultPoints.map((point): Ending => ({ kind: 'point', point, count: round === 0 ? 1 : random.between(1, 3) })),
  ).flat();
  const others = Array.from(
    { length: Math.max(0, kills - points.length) },
    (_, index) => mix[index % mix.length] ?? 'server',
  );
  const endings: Ending[] = [...points];
  const inner: { kind: InnerKill; afterMs: number }[] = [];
  for (const kind of others) {
    if (kind === 'machine' || kind === 'postgres') inner.push({ kind, afterMs: random.between(0, mostWorkMs) });
    else endings.push({ kind, afterMs: random.between(0, kind === 'start' ? mostStartMs : mostWorkMs) });
  }
  // A server that is killed while it starts, or by itself at a point, lives through no other kill.
  const lives = random.shuffled(endings).map((ending) => ({ inner: [] as Life['inner'][number][], ending }));
  const long = lives.filter(({ ending }) => ending.kind === 'server' || ending.kind === 'everything');
  for (const kill of random.shuffled(inner)) random.pick(long)?.inner.push(kill);
  return lives;
}
