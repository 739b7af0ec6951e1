import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralRequest, Options, OutputShape, TextPart, Thinking } from '../neutral.ts';
import { readSchemaFormat } from '../openai/output-format.ts';
import { readToolChoice } from '../openai/tool-choice.ts';
import { readTool } from '../openai/tools.ts';
import { readNumbers } from '../option-names.ts';
import { isEffort } from '../thinking-effort.ts';
import { ItemReader } from './item-reader.ts';

const readThinking = (body: Members, losses: Losses): Thinking | null => {
  const value = body.nested('reasoning');
  if (value === null) return null;
  const reasoning = new Members(value, 'reasoning', losses);
  const word = reasoning.take('effort');
  const summary = reasoning.text('summary') ?? reasoning.text('generate_summary');
  reasoning.rest();
  if (word !== undefined && word !== null && !isEffort(word)) losses.add('reasoning.effort');
  const effort = isEffort(word) ? word : null;
  if (effort === null && summary === null) return null;
  return { effort, budgetTokens: null, visible: summary === null ? null : true, at: 'reasoning' };
};

const readText = (body: Members, options: Options, losses: Losses): OutputShape | null => {
  const value = body.nested('text');
  if (value === null) return null;
  const text = new Members(value, 'text', losses);
  const verbosity = text.text('verbosity');
  if (verbosity !== null) options.verbosity = verbosity;
  const format = text.nested('format');
  text.rest();
  const at = 'text.format';
  if (format === null || format.type === 'text') return null;
  if (format.type === 'json_object') return { kind: 'json', at };
  if (format.type === 'json_schema') return readSchemaFormat(format, at, losses);
  losses.add(at);
  return null;
};

const readOptions = (body: Members): Options => {
  const options: Options = {};
  readNumbers('openai-responses', body, options);
  const parallel = body.flag('parallel_tool_calls');
  if (parallel !== null) options.parallelCalls = parallel;
  const user = body.text('user') ?? body.text('safety_identifier');
  if (user !== null) options.user = user;
  const tier = body.text('service_tier');
  if (tier !== null) options.serviceTier = tier;
  const cacheKey = body.text('prompt_cache_key');
  if (cacheKey !== null) options.cacheKey = cacheKey;
  const metadata = body.nested('metadata');
  if (metadata !== null) options.metadata = metadata;
  return options;
};

/** What makes a request meaningless to anybody but the one who keeps the conversation. */
const elsewhere = ['previous_response_id', 'conversation', 'prompt'] as const;

/**
 * Reads a body of `/v1/responses`. Throws the error of `losses` when it has no conversation of its own, because it goes
 * on with one that only OpenAI has.
 */
export const readResponsesRequest = (object: JsonObject, losses: Losses): NeutralRequest => {
  const body = new Members(object, '', losses);
  for (const key of elsewhere) {
    const value = body.take(key);
    if (value !== undefined && value !== null)
      throw losses.invalid(key, 'needs a provider that keeps responses: send the whole input');
  }
  const options = readOptions(body);
  const system: TextPart[] = [];
  const instructions = body.text('instructions');
  if (instructions !== null && instructions !== '')
    system.push({ kind: 'text', text: instructions, at: 'instructions', cache: null, signature: null });
  const reader = new ItemReader(system, losses);
  const tools = body.list('tools').map((tool, i) => readTool(tool, `tools[${i}]`, losses));
  const request: NeutralRequest = {
    system,
    turns: reader.turns(body.take('input')),
    tools: tools.filter((tool) => tool !== null),
    options,
    stop: [],
    toolChoice: readToolChoice(body, losses),
    output: readText(body, options, losses),
    thinking: readThinking(body, losses),
    stream: body.flag('stream') === true,
  };
  if (object.store !== true) body.ignore('store');
  if (object.background !== true) body.ignore('background');
  if (object.truncation === 'disabled') body.ignore('truncation');
  // Every signature is carried anyway.
  const include = object.include;
  if (Array.isArray(include) && include.every((one) => one === 'reasoning.encrypted_content')) body.ignore('include');
  if (!isObject(object.stream_options) || object.stream === true) body.ignore('stream_options');
  body.ignore('model');
  body.rest();
  return request;
};
