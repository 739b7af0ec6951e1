import { Members } from '../json-value.ts';

const snakeNames = new Map<string, string>();

const snakeCase = (name: string): string => {
  let snake = snakeNames.get(name);
  if (snake === undefined) {
    snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    // Names come from the code of the readers, never from a request: the map stays small.
    snakeNames.set(name, snake);
  }
  return snake;
};

/** Members of a protobuf message in JSON: Gemini takes `inlineData` and `inline_data` alike, and its guides use both. */
export class ProtoMembers extends Members {
  override take(key: string): unknown {
    const value = super.take(key);
    if (value !== undefined) return value;
    const snake = snakeCase(key);
    return snake === key ? undefined : super.take(snake);
  }
}
