import { posix } from 'node:path';
import type { Client, Sandbox } from '@holdfast/sdk';
import type OpenAI from 'openai';
import type { OpenSpan } from './spans.ts';

/** What the agent can do. Each call gets the span it belongs to. */
export interface Tools {
  exec(command: string, span: OpenSpan): Promise<string>;
  read(path: string, span: OpenSpan): Promise<string>;
  write(path: string, content: string, span: OpenSpan): Promise<string>;
}

export interface ToolCall {
  readonly name: 'exec' | 'read' | 'write';
  /** The command or the path. */
  readonly subject: string;
  readonly content: string;
}

const text = { type: 'string' } as const;

const tool = (name: string, description: string, properties: Record<string, typeof text>) =>
  ({
    type: 'function',
    function: {
      name,
      description,
      strict: true,
      parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
    },
  }) satisfies OpenAI.ChatCompletionTool;

/** The tools as the model sees them. */
export const toolDefinitions = [
  tool('exec', 'Runs a shell command in the repository and returns its output and exit code.', { command: text }),
  tool('read', 'Reads a text file; the path is relative to the repository.', { path: text }),
  tool('write', 'Writes a text file, replacing it; the path is relative to the repository.', {
    path: text,
    content: text,
  }),
];

const field = (args: object, name: string): string => {
  const value: unknown = Reflect.get(args, name);
  if (typeof value !== 'string') throw new TypeError(`the argument "${name}" must be text`);
  return value;
};

/** What the model asked for. Throws with a message that the model can act on. */
export const parseToolCall = (name: string, json: string): ToolCall => {
  const args: unknown = JSON.parse(json);
  if (typeof args !== 'object' || args === null) throw new TypeError('the arguments must be an object');
  if (name === 'exec') return { name, subject: field(args, 'command'), content: '' };
  if (name === 'read') return { name, subject: field(args, 'path'), content: '' };
  if (name === 'write') return { name, subject: field(args, 'path'), content: field(args, 'content') };
  throw new TypeError(`there is no tool "${name}"`);
};

export const useTool = (tools: Tools, call: ToolCall, span: OpenSpan): Promise<string> => {
  if (call.name === 'exec') return tools.exec(call.subject, span);
  if (call.name === 'read') return tools.read(call.subject, span);
  return tools.write(call.subject, call.content, span);
};

/** Tools that work in `root` of a sandbox, which resumes by itself when one is used. */
export const sandboxTools = (client: Client, sandbox: Sandbox, root: string): Tools => {
  const within = (span: OpenSpan): Sandbox => sandbox.through(client.with({ traceparent: span.traceparent }));
  const absolute = (path: string): string => posix.resolve(root, path);
  return {
    exec: async (command, span) => {
      const result = await within(span).exec(command, { cwd: root, timeoutMs: 60_000, maxOutputBytes: 65_536 });
      span.attributes.exitCode = result.exitCode;
      const end = result.timedOut ? 'timed out' : `exit code ${result.exitCode ?? result.signal}`;
      return `${result.stdout}${result.stderr}[${end}]`;
    },
    read: (path, span) => within(span).readText(absolute(path)),
    write: async (path, content, span) => {
      const { size } = await within(span).writeFile(absolute(path), content, { parents: true });
      return `wrote ${size} bytes`;
    },
  };
};
