import { type Command, InvalidArgumentError } from 'commander';
import { readConfiguration } from './configuration.ts';
import type { Context } from './context.ts';
import { Output } from './output.ts';

/** What one command does. `args` are its operands in order; the number is the exit code, 0 unless told. */
export type Run<Options> = (
  context: Context,
  args: readonly string[],
  options: Options,
) => Promise<number | undefined> | Promise<void>;

export interface CommandSpec<Options extends object> {
  /** Name and operands, such as `rm <sandbox...>`. */
  readonly usage: string;
  readonly summary: string;
  /** A command line without the leading `holdfast`, and what it does. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  /** Adds options. */
  readonly configure?: (command: Command) => Command;
  readonly hidden?: boolean;
  /** What its group does when no other command is named. */
  readonly isDefault?: boolean;
  /** Loads what the command does only when it runs, so that `--help` and the tab key stay quick. */
  readonly load: () => Promise<Run<Options>>;
}

const exampleText = (examples: CommandSpec<object>['examples']): string => {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, meaning]) => `  $ holdfast ${line.padEnd(width)}  # ${meaning}`);
  return `\nExamples:\n${lines.join('\n')}\n`;
};

/** Adds a command that runs under `parent`. */
export const addCommand = <Options extends object>(parent: Command, spec: CommandSpec<Options>): Command => {
  const command = parent
    .command(spec.usage, { hidden: spec.hidden === true, isDefault: spec.isDefault === true })
    .description(spec.summary)
    .option('--json', 'print one JSON document on standard output, and errors as problem documents');
  spec.configure?.(command);
  if (spec.examples.length > 0) command.addHelpText('after', exampleText(spec.examples));
  command.action(async () => {
    const options = command.opts<Options & { json?: boolean }>();
    const configuration = readConfiguration();
    const { stdout, stderr } = process;
    const json = options.json === true;
    const output = new Output({ json, color: configuration.color, stdout, stderr });
    const run = await spec.load();
    process.exitCode = (await run({ configuration, output, now: Date.now }, command.args, options)) ?? 0;
  });
  return command;
};

/** Adds a command that only holds others. */
export const addGroup = (parent: Command, name: string, summary: string): Command =>
  parent.command(name).description(summary).usage('<command>').helpCommand(false);

/** Reads a whole number within bounds. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^-?\d{1,15}$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };

const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const isUnit = (text: string): text is keyof typeof unitsMs => Object.hasOwn(unitsMs, text);

/** Reads a duration such as `500ms`, `15s`, `10m`, `2h`, `30d`, a bare number being seconds, as milliseconds. */
export const duration =
  (maxMs: number) =>
  (text: string): number => {
    const [, amount, unit = 's'] = /^(\d{1,12})(ms|s|m|h|d)?$/.exec(text) ?? [];
    const value = amount !== undefined && isUnit(unit) ? Number(amount) * unitsMs[unit] : Number.NaN;
    if (!(value <= maxMs)) {
      throw new InvalidArgumentError(`It must be a duration such as 15s, 10m or 2h, at most ${maxMs / 1000} s.`);
    }
    return value;
  };

/** Reads dollars such as `5`, `0.25` or `$10` as micro-dollars. */
export const dollars = (text: string): number => {
  const value = /^\$?(\d{1,9}(?:\.\d{1,6})?)$/.exec(text)?.[1];
  if (value === undefined) throw new InvalidArgumentError('It must be dollars such as 5, 0.25 or $10.');
  return Math.round(Number(value) * 1_000_000);
};

/** Collects words that may be repeated, or separated by commas. */
export const words = (text: string, previous: readonly string[] = []): string[] => [
  ...previous,
  ...text.split(',').filter((word) => word !== ''),
];

const maxPairs = 256;

/** Collects `NAME=value` options that may be repeated. */
export const pair = (text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> => {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must have the form NAME=value.');
  if (Object.keys(previous).length >= maxPairs) throw new InvalidArgumentError(`At most ${maxPairs} are taken.`);
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
};
