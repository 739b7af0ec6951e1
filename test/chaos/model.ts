import { createHash } from 'node:crypto';

/** Version 0 of a file: it is not there. */
export const absent = 0;

/**
 * What one file may hold. A version that was acknowledged replaces all before it; one that was sent and not acknowledged may have happened
 * or not, but a reader sees one of them whole.
 */
export class FileSlot {
  readonly path: string;
  /** One writer at a time, so that the order of acknowledgements is that of the writes. */
  busy = false;
  #possible: Set<number>;
  readonly #watches = new Set<Set<number>>();

  constructor(path: string, possible: Iterable<number> = [absent]) {
    this.path = path;
    this.#possible = new Set(possible);
  }

  get possible(): ReadonlySet<number> {
    return this.#possible;
  }

  send(version: number): void {
    this.#possible.add(version);
    for (const watch of this.#watches) watch.add(version);
  }

  acknowledge(version: number): void {
    this.#possible = new Set([version]);
  }

  /** A reader saw this version: those sent before it are over, later ones may still come. */
  seen(version: number): void {
    for (const other of this.#possible) if (other < version) this.#possible.delete(other);
  }

  /** Everything it may hold from now on until `stop`. */
  watch(): { readonly versions: ReadonlySet<number>; stop(): void } {
    const versions = new Set(this.#possible);
    this.#watches.add(versions);
    return { versions, stop: () => void this.#watches.delete(versions) };
  }
}

/** A background process that counts. `last` is the highest count that was seen. */
export interface Counter {
  readonly pid: number;
  last: number;
}

export type Fact = 'no' | 'sent' | 'yes';

/** What is known of one sandbox from the answers of the server alone. */
export class BoxFacts {
  readonly name: string;
  /** Null until its creation was acknowledged, or until it was found to have happened. */
  id: string | null = null;
  deleted: Fact = 'no';
  readonly files = new Map<string, FileSlot>();
  counter: Counter | null = null;
  /** Whether it may have lost its memory: its machine was killed, or it was changing its state when the server was. */
  memoryInDoubt = false;
  inFlight = 0;
  /** Raised by each forced standby and each deletion that begins: operations beside it may be broken off. */
  interruptions = 0;

  constructor(name: string) {
    this.name = name;
  }

  slot(path: string): FileSlot {
    const known = this.files.get(path);
    if (known !== undefined) return known;
    const made = new FileSlot(path);
    this.files.set(path, made);
    return made;
  }
}

/** A fork that was not acknowledged: either all of these exist or none. */
export interface Litter {
  readonly names: readonly string[];
}

export class Model {
  readonly boxes = new Map<string, BoxFacts>();
  /** Ids whose deletion was acknowledged. */
  readonly gone: string[] = [];
  readonly litters: Litter[] = [];
  #names = 0;
  #versions = 0;

  newName(): string {
    this.#names += 1;
    return `box-${this.#names}`;
  }

  newVersion(): number {
    this.#versions += 1;
    return this.#versions;
  }

  add(box: BoxFacts): void {
    this.boxes.set(box.name, box);
  }

  remove(box: BoxFacts): void {
    this.boxes.delete(box.name);
    if (box.id !== null) this.gone.push(box.id);
  }

  /** Those that exist for sure and are not being deleted. */
  usable(): { readonly box: BoxFacts; readonly id: string }[] {
    return [...this.boxes.values()].flatMap((box) =>
      box.id === null || box.deleted !== 'no' ? [] : [{ box, id: box.id }],
    );
  }
}

/** Content of a version: long enough to be written in pieces, and different in each of them from any other version. */
export function contentOf(version: number): string {
  const line = createHash('sha256').update(`version ${version}`).digest('hex');
  const lines = 1 + ((version * 97) % 600);
  return `version ${version}\n${`${line}\n`.repeat(lines)}end ${version}\n`;
}

/** The version that a content is, or null when it is no whole version. */
export function versionOf(content: string): number | null {
  const version = Number(/^version (\d+)\n/.exec(content)?.[1]);
  return Number.isInteger(version) && content === contentOf(version) ? version : null;
}

/** Names that the forks of one request get. */
export const childNames = (name: string, count: number): string[] =>
  count === 1 ? [name] : Array.from({ length: count }, (_, index) => `${name}-${index + 1}`);
