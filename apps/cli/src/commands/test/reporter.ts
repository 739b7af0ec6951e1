import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

const messageOf = (error: Error): string => {
  // The runner wraps what a test threw; the wrapper's own stack says nothing.
  const cause = error.cause ?? error;
  return inspect(cause, { depth: 4, maxStringLength: 4000, maxArrayLength: 50 });
};

const lineOf = (event: TestEvent): object | null => {
  switch (event.type) {
    case 'test:fail': {
      const { name, file, line, details } = event.data;
      const failureType = 'failureType' in details.error ? details.error.failureType : null;
      if (failureType === 'subtestsFailed') return null;
      return {
        kind: 'fail',
        name,
        at: file === undefined ? null : `${file}:${line ?? 1}`,
        message: messageOf(details.error),
      };
    }
    case 'test:stdout':
    case 'test:stderr':
      return { kind: 'output', text: event.data.message };
    case 'test:diagnostic':
      return { kind: 'remark', text: event.data.message };
    case 'test:summary': {
      if (event.data.file !== undefined) return null;
      const { tests, passed, skipped, todo } = event.data.counts;
      return { kind: 'summary', passed, failed: tests - passed - skipped - todo, skipped: skipped + todo };
    }
    default:
      return null;
  }
};

/** A reporter for `node --test` that writes one JSON document a line, for `node-tests.ts` to read. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const line = lineOf(event);
    if (line !== null) yield `${JSON.stringify(line)}\n`;
  }
}
