import { HoldfastError } from '@holdfast/core';
import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type {
  NeutralRequest,
  Options,
  Part,
  TextPart,
  Thinking,
  ToolChoice,
  ToolDefinition,
  Turn,
} from '../neutral.ts';
import { readNumbers } from '../option-names.ts';
import { isEffort } from '../thinking-effort.ts';
import { readCacheControl, readContent } from './content-reader.ts';

const onlyText = (parts: readonly Part[], losses: Losses): TextPart[] => {
  const texts: TextPart[] = [];
  for (const part of parts) {
    if (part.kind === 'text') texts.push(part);
    else losses.add(part.at);
  }
  return texts;
};

const readMessages = (body: Members, system: TextPart[], losses: Losses): Turn[] => {
  const turns: Turn[] = [];
  const messages = body.take('messages');
  if (!Array.isArray(messages)) throw losses.invalid('messages', 'must be a list');
  for (const [i, value] of messages.entries()) {
    const at = `messages[${i}]`;
    if (!isObject(value)) throw losses.invalid(at, 'must be an object');
    const message = new Members(value, at, losses);
    const role = message.text('role');
    const parts = readContent(message.take('content'), `${at}.content`, losses);
    if (role === 'user' || role === 'assistant') turns.push({ role, parts, at });
    else if (role === 'system') {
      if (turns.length > 0) losses.add(`${at}.role`);
      system.push(...onlyText(parts, losses));
    } else throw losses.invalid(`${at}.role`, 'is no role that can be translated');
    message.rest();
  }
  return turns;
};

const readTool = (value: unknown, at: string, losses: Losses): ToolDefinition | null => {
  if (!isObject(value) || (value.type !== undefined && value.type !== null && value.type !== 'custom')) {
    losses.add(at);
    return null;
  }
  const tool = new Members(value, at, losses);
  tool.ignore('type', 'eager_input_streaming');
  const name = tool.text('name');
  if (name === null) throw losses.invalid(at, 'has no name');
  const definition: ToolDefinition = {
    name,
    description: tool.text('description'),
    schema: tool.nested('input_schema'),
    strict: tool.flag('strict'),
    custom: null,
    at,
    cache: readCacheControl(tool),
  };
  tool.rest();
  return definition;
};

const readToolChoice = (body: Members, options: Options, losses: Losses): ToolChoice | null => {
  const at = 'tool_choice';
  const value = body.nested(at);
  if (value === null) return null;
  const choice = new Members(value, at, losses);
  const type = choice.text('type');
  const single = choice.flag('disable_parallel_tool_use');
  if (single !== null) options.parallelCalls = !single;
  const name = choice.text('name');
  choice.rest();
  if (type === 'auto' || type === 'none') return { mode: type, at };
  if (type === 'any') return { mode: 'required', names: [], at };
  if (type === 'tool' && name !== null) return { mode: 'required', names: [name], at };
  losses.add(at);
  return null;
};

/** Thinking and effort, which stand in two places. */
const readThinking = (body: Members, output: Members | null, losses: Losses): Thinking | null => {
  const value = body.nested('thinking');
  const word = output?.take('effort');
  const effort = isEffort(word) ? word : null;
  if (value === null)
    return effort === null ? null : { effort, budgetTokens: null, visible: null, at: 'output_config.effort' };
  const thinking = new Members(value, 'thinking', losses);
  const type = thinking.text('type');
  const display = thinking.text('display');
  const budgetTokens = thinking.number('budget_tokens');
  thinking.rest();
  const at = 'thinking';
  if (type === 'disabled') return { effort: 'none', budgetTokens: null, visible: null, at };
  if (type === 'between_tools') losses.add('thinking.type');
  return { effort, budgetTokens: type === 'enabled' ? budgetTokens : null, visible: display !== 'omitted', at };
};

const readOptions = (body: Members, losses: Losses): Options => {
  const options: Options = {};
  readNumbers('anthropic', body, options);
  const tier = body.text('service_tier');
  if (tier !== null) options.serviceTier = tier;
  const value = body.nested('metadata');
  if (value !== null) {
    const metadata = new Members(value, 'metadata', losses);
    const user = metadata.text('user_id');
    if (user !== null) options.user = user;
    metadata.rest();
  }
  return options;
};

const readFormat = (output: Members, losses: Losses): NeutralRequest['output'] => {
  const format = output.nested('format');
  if (format === null) return null;
  const at = 'output_config.format';
  const { schema } = format;
  if (format.type === 'json_schema' && isObject(schema))
    return { kind: 'schema', schema, name: null, description: null, strict: null, at };
  losses.add(at);
  return null;
};

/**
 * Anthropic can keep a conversation and take only what is new; others cannot. Its clients know this code, and send the
 * whole conversation then.
 */
const refuseThread = (body: Members): void => {
  if (body.nested('thread') === null) return;
  throw new HoldfastError('request.invalid', 'thread: the provider keeps no conversations. Send all messages.', {
    field: 'thread',
    error_code: 'thread_unsupported_request',
    unsupported: [],
  });
};

/** Reads a body of `/v1/messages`. Throws the error of `losses` when it has no conversation of its own. */
export const readMessagesRequest = (object: JsonObject, losses: Losses): NeutralRequest => {
  const body = new Members(object, '', losses);
  refuseThread(body);
  const options = readOptions(body, losses);
  const system = onlyText(readContent(body.take('system'), 'system', losses), losses);
  const config = body.nested('output_config');
  const output = config === null ? null : new Members(config, 'output_config', losses);
  const stop = body.list('stop_sequences').filter((one) => typeof one === 'string');
  const tools = body.list('tools').map((tool, i) => readTool(tool, `tools[${i}]`, losses));
  const request: NeutralRequest = {
    system,
    turns: readMessages(body, system, losses),
    tools: tools.filter((tool) => tool !== null),
    options,
    stop,
    toolChoice: readToolChoice(body, options, losses),
    output: output === null ? null : readFormat(output, losses),
    thinking: readThinking(body, output, losses),
    stream: body.flag('stream') === true,
  };
  output?.rest();
  body.ignore('model');
  body.rest();
  return request;
};
