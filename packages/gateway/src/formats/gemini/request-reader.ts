import type { JsonObject } from '../format.ts';
import { schemaOfGemini } from '../json-schema.ts';
import { isObject } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type {
  Effort,
  NeutralRequest,
  Options,
  OutputShape,
  Part,
  TextPart,
  Thinking,
  ToolChoice,
  ToolDefinition,
  Turn,
} from '../neutral.ts';
import { readNumbers } from '../option-names.ts';
import { isEffort } from '../thinking-effort.ts';
import { CallIds, joinPieces, readPart } from './content-reader.ts';
import { ProtoMembers } from './proto-members.ts';

const readParts = (content: ProtoMembers, ids: CallIds, losses: Losses): Part[] => {
  const at = content.path('parts');
  const parts: Part[] = [];
  for (const [i, value] of content.list('parts').entries()) {
    const part = readPart(value, `${at}[${i}]`, { ids, choice: 0 }, losses);
    if (part !== null && !(part.kind === 'text' && part.text === '' && part.signature === null)) parts.push(part);
  }
  return parts;
};

const readContents = (body: ProtoMembers, losses: Losses): Turn[] => {
  const contents = body.take('contents');
  if (!Array.isArray(contents)) throw losses.invalid('contents', 'must be a list');
  const ids = new CallIds(null);
  return contents.map((value, i): Turn => {
    const at = `contents[${i}]`;
    if (!isObject(value)) throw losses.invalid(at, 'must be an object');
    const content = new ProtoMembers(value, at, losses);
    const role = content.text('role') ?? 'user';
    if (role !== 'user' && role !== 'model' && role !== 'function')
      throw losses.invalid(`${at}.role`, 'is no role that can be translated');
    const parts = readParts(content, ids, losses);
    content.rest();
    return role === 'model' ? { role: 'assistant', parts: joinPieces(parts), at } : { role: 'user', parts, at };
  });
};

const readSystem = (body: ProtoMembers, losses: Losses): TextPart[] => {
  const value = body.nested('systemInstruction');
  if (value === null) return [];
  const content = new ProtoMembers(value, 'systemInstruction', losses);
  content.ignore('role');
  const texts: TextPart[] = [];
  for (const part of readParts(content, new CallIds(null), losses)) {
    if (part.kind === 'text') texts.push(part);
    else losses.add(part.at);
  }
  content.rest();
  return texts;
};

const readDeclaration = (value: unknown, at: string, losses: Losses): ToolDefinition | null => {
  if (!isObject(value)) {
    losses.add(at);
    return null;
  }
  const declaration = new ProtoMembers(value, at, losses);
  const name = declaration.text('name');
  if (name === null) throw losses.invalid(at, 'has no name');
  const own = declaration.nested('parameters');
  const plain = declaration.nested('parametersJsonSchema');
  const description = declaration.text('description');
  declaration.rest();
  const schema = plain ?? (own === null ? null : schemaOfGemini(own));
  return { name, description, schema, strict: null, custom: null, at, cache: null };
};

const readTools = (body: ProtoMembers, losses: Losses): ToolDefinition[] => {
  const tools: ToolDefinition[] = [];
  for (const [i, value] of body.list('tools').entries()) {
    if (!isObject(value)) {
      losses.add(`tools[${i}]`);
      continue;
    }
    const tool = new ProtoMembers(value, `tools[${i}]`, losses);
    const at = tool.path('functionDeclarations');
    for (const [j, one] of tool.list('functionDeclarations').entries()) {
      const declaration = readDeclaration(one, `${at}[${j}]`, losses);
      if (declaration !== null) tools.push(declaration);
    }
    // Tools that Google runs itself.
    tool.rest();
  }
  return tools;
};

const readToolChoice = (body: ProtoMembers, losses: Losses): ToolChoice | null => {
  const value = body.nested('toolConfig');
  if (value === null) return null;
  const outer = new ProtoMembers(value, 'toolConfig', losses);
  const inner = outer.nested('functionCallingConfig');
  outer.rest();
  if (inner === null) return null;
  const at = 'toolConfig.functionCallingConfig';
  const config = new ProtoMembers(inner, at, losses);
  const mode = config.text('mode')?.toUpperCase();
  const names = config.list('allowedFunctionNames').filter((name) => typeof name === 'string');
  config.rest();
  if (mode === 'NONE') return { mode: 'none', at };
  if (mode === 'ANY') return { mode: 'required', names, at };
  if (mode === 'VALIDATED' && names.length > 0) return { mode: 'allowed', names, at };
  return { mode: 'auto', at };
};

const readThinking = (config: ProtoMembers, losses: Losses): Thinking | null => {
  const value = config.nested('thinkingConfig');
  if (value === null) return null;
  const at = config.path('thinkingConfig');
  const thinking = new ProtoMembers(value, at, losses);
  const level = thinking.text('thinkingLevel')?.toLowerCase();
  const budget = thinking.number('thinkingBudget');
  const visible = thinking.flag('includeThoughts');
  thinking.rest();
  const effort: Effort | null = budget === 0 ? 'none' : isEffort(level) ? level : null;
  // -1 leaves it to the model.
  return { effort, budgetTokens: budget !== null && budget > 0 ? budget : null, visible, at };
};

const readOutput = (config: ProtoMembers, losses: Losses): OutputShape | null => {
  const mimeType = config.text('responseMimeType');
  const own = config.nested('responseSchema');
  const plain = config.nested('responseJsonSchema');
  const at = config.path(plain === null ? 'responseSchema' : 'responseJsonSchema');
  const schema = plain ?? (own === null ? null : schemaOfGemini(own));
  if (mimeType !== null && mimeType !== 'application/json' && mimeType !== 'text/plain')
    losses.add(config.path('responseMimeType'));
  if (schema !== null) return { kind: 'schema', schema, name: null, description: null, strict: null, at };
  return mimeType === 'application/json' ? { kind: 'json', at: config.path('responseMimeType') } : null;
};

const readConfig = (config: ProtoMembers, options: Options): string[] => {
  readNumbers('gemini', config, options);
  const logprobs = config.flag('responseLogprobs');
  if (logprobs !== null) options.logprobs = logprobs;
  const modalities = config.list('responseModalities');
  const isText = (one: unknown): boolean => typeof one === 'string' && one.toUpperCase() === 'TEXT';
  if (!modalities.every(isText)) config.lose('responseModalities');
  return config.list('stopSequences').filter((one) => typeof one === 'string');
};

/** Reads a body of `:generateContent`. Throws the error of `losses` when it has no conversation. */
export const readGeminiRequest = (object: JsonObject, losses: Losses): NeutralRequest => {
  const body = new ProtoMembers(object, '', losses);
  const options: Options = {};
  const value = body.nested('generationConfig');
  const config = new ProtoMembers(value ?? {}, 'generationConfig', losses);
  const stop = readConfig(config, options);
  const tier = body.text('serviceTier');
  if (tier !== null) options.serviceTier = tier;
  const request: NeutralRequest = {
    system: readSystem(body, losses),
    turns: readContents(body, losses),
    tools: readTools(body, losses),
    options,
    stop,
    toolChoice: readToolChoice(body, losses),
    output: readOutput(config, losses),
    thinking: readThinking(config, losses),
    stream: false,
  };
  config.rest();
  body.ignore('model');
  body.rest();
  return request;
};
