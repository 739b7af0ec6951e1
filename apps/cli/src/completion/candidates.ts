import type { Command } from 'commander';

export interface Candidate {
  readonly word: string;
  readonly description: string;
}

/** Names that only the server knows. */
export type Lookup = (kind: LookupKind) => Promise<readonly Candidate[]>;

export type LookupKind =
  | 'sandbox'
  | 'key'
  | 'trace'
  | 'bench'
  | 'provider'
  | 'route'
  | 'budget'
  | 'price'
  | 'kill'
  | 'webhook'
  | 'team'
  | 'agent';

const lookupKinds = new Map([
  ['sandbox', 'sandbox'],
  ['key', 'key'],
  ['trace', 'trace'],
  ['name', 'bench'],
  ['provider', 'provider'],
  ['route', 'route'],
  ['budget', 'budget'],
  ['price', 'price'],
  ['kill', 'kill'],
  ['webhook', 'webhook'],
  ['team', 'team'],
  ['agent', 'agent'],
] as const);

const visible = (command: Command): Command[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .filter((sub) => !sub.name().startsWith('_'));

const optionNamed = (command: Command, word: string) =>
  command.options.find((option) => option.long === word || option.short === word);

/** The command that the typed words lead to, its operands so far, and the option that waits for its value. */
const walk = (program: Command, typed: readonly string[]) => {
  let command = program;
  let operands = 0;
  let waiting: ReturnType<typeof optionNamed>;
  for (const word of typed) {
    if (waiting !== undefined) {
      waiting = undefined;
      continue;
    }
    if (word === '--') return null;
    if (word.startsWith('-')) {
      const option = optionNamed(command, word);
      waiting = option?.required === true ? option : undefined;
      continue;
    }
    const sub = operands === 0 ? command.commands.find((candidate) => candidate.name() === word) : undefined;
    if (sub !== undefined) command = sub;
    else operands += 1;
  }
  return { command, operands, waiting };
};

const choices = (words: readonly string[] | undefined): Candidate[] =>
  (words ?? []).map((word) => ({ word, description: '' }));

const operandCandidates = async (command: Command, operands: number, lookup: Lookup): Promise<readonly Candidate[]> => {
  const known = command.registeredArguments;
  const last = known.at(-1);
  const argument = known[operands] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return choices(argument.argChoices);
  const name = argument.name();
  for (const [argumentName, kind] of lookupKinds) {
    // `create [name]` names something new, `bench <name>` something that is there.
    if (argumentName === name && argument.required) return lookup(kind);
  }
  return [];
};

/** What may stand where the last of `words` is, given those before it; nothing means that files may. */
export const candidatesFor = async (
  program: Command,
  words: readonly string[],
  lookup: Lookup,
): Promise<readonly Candidate[]> => {
  const current = words.at(-1) ?? '';
  const found = walk(program, words.slice(0, -1));
  if (found === null) return [];
  const { command, operands, waiting } = found;
  const all: readonly Candidate[] =
    waiting !== undefined
      ? choices(waiting.argChoices)
      : current.startsWith('-')
        ? command
            .createHelp()
            .visibleOptions(command)
            .flatMap((o) => (o.long === undefined ? [] : [{ word: o.long, description: o.description }]))
        : [
            ...visible(command).map((sub) => ({ word: sub.name(), description: sub.summary() || sub.description() })),
            ...(await operandCandidates(command, operands, lookup)),
          ];
  return all.filter(({ word }) => word.startsWith(current));
};
