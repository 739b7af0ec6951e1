import type { Match } from './table-file.ts';

const compile = (match: Match): ((model: string) => boolean) => {
  if (match.or !== undefined) {
    const any = match.or.map(compile);
    return (model) => any.some((one) => one(model));
  }
  if (match.and !== undefined) {
    const all = match.and.map(compile);
    return (model) => all.every((one) => one(model));
  }
  const { equals, starts_with: starts, ends_with: ends, contains, regex } = match;
  if (equals !== undefined) return (model) => model === equals.toLowerCase();
  if (starts !== undefined) return (model) => model.startsWith(starts.toLowerCase());
  if (ends !== undefined) return (model) => model.endsWith(ends.toLowerCase());
  if (contains !== undefined) return (model) => model.includes(contains.toLowerCase());
  const pattern = new RegExp(regex ?? '(?!)', 'i');
  return (model) => pattern.test(model);
};

/** A function that says whether a model's name in lower case is meant. */
export const matcherOf = compile;
