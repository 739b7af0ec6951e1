import { argumentText } from '../call-arguments.ts';
import { callIdFor } from '../call-identity.ts';
import type { Format, JsonObject } from '../format.ts';
import { isObject, type JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { audioFormat, urlOfSource } from '../media-source.ts';
import type { CallPart, MediaPart, NeutralRequest, ResultPart, TextPart, ThinkingPart, Turn } from '../neutral.ts';
import { cacheBreakpoint } from '../openai/cache-breakpoint.ts';
import { schemaFormat } from '../openai/output-format.ts';
import { OptionSource, optionPath } from '../option-names.ts';
import { effortOf } from '../thinking-effort.ts';

class ItemWriter {
  readonly #losses: Losses;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  text(part: TextPart, type: 'input_text' | 'output_text'): JsonObject {
    if (type === 'output_text') {
      if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
      return { type, text: part.text, annotations: [] };
    }
    return { type, text: part.text, ...cacheBreakpoint(part.cache, part.at, this.#losses) };
  }

  media(part: MediaPart): JsonObject | null {
    const { source } = part;
    const cache = source.kind === 'file' ? {} : cacheBreakpoint(part.cache, part.at, this.#losses);
    const isWeb = source.kind === 'data' || (source.kind === 'url' && /^https?:/.test(source.url));
    if (part.media === 'image' && isWeb)
      return { type: 'input_image', image_url: urlOfSource(source), detail: part.detail ?? 'auto', ...cache };
    if (part.media === 'document' && isWeb) {
      const file =
        source.kind === 'data'
          ? { filename: part.name ?? 'document.pdf', file_data: urlOfSource(source) }
          : { file_url: source.url };
      return { type: 'input_file', ...file, ...cache };
    }
    if (part.media === 'audio' && source.kind === 'data') {
      const format = audioFormat(source.mimeType);
      if (format !== null) return { type: 'input_audio', input_audio: { data: source.base64, format } };
    }
    this.#losses.add(part.at);
    return null;
  }

  content(parts: readonly (TextPart | MediaPart)[]): JsonObject[] {
    const written = parts.map((part) => (part.kind === 'text' ? this.text(part, 'input_text') : this.media(part)));
    return written.filter((part) => part !== null);
  }

  call(part: CallPart): JsonObject {
    if (part.signature !== null) this.#losses.add(`${part.at}.signature`);
    if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
    const head = { call_id: callIdFor('openai-responses', part.id), name: part.name };
    const text = argumentText(part.input, part.at, this.#losses);
    return part.custom
      ? { type: 'custom_tool_call', ...head, input: text }
      : { type: 'function_call', ...head, arguments: text };
  }

  result(part: ResultPart): JsonObject {
    if (part.isError) this.#losses.add(`${part.at}.is_error`);
    const [first] = part.content;
    const plain = part.content.length === 1 && first?.kind === 'text' && first.cache === null;
    if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
    const output = part.content.length === 0 ? '' : plain ? first.text : this.content(part.content);
    const type = part.custom ? 'custom_tool_call_output' : 'function_call_output';
    return { type, call_id: callIdFor('openai-responses', part.callId), output };
  }

  reasoning(part: ThinkingPart): JsonObject | null {
    if (part.signature?.origin !== 'openai') {
      this.#losses.add(part.at);
      return null;
    }
    const summary = part.text === '' ? [] : [{ type: 'summary_text', text: part.text }];
    const id = part.signature.id === '' ? {} : { id: part.signature.id };
    return { type: 'reasoning', ...id, summary, encrypted_content: part.signature.value };
  }

  assistant(turn: Turn): JsonObject[] {
    const items: JsonObject[] = [];
    let content: JsonObject[] = [];
    const flush = (): void => {
      if (content.length > 0) items.push({ type: 'message', role: 'assistant', content });
      content = [];
    };
    for (const part of turn.parts) {
      if (part.kind === 'text') {
        if (part.text !== '') content.push(this.text(part, 'output_text'));
      } else if (part.kind === 'refusal') content.push({ type: 'refusal', refusal: part.text });
      else if (part.kind === 'call') {
        flush();
        items.push(this.call(part));
      } else if (part.kind === 'thinking') {
        flush();
        const reasoning = this.reasoning(part);
        if (reasoning !== null) items.push(reasoning);
      } else this.#losses.add(part.at);
    }
    flush();
    return items;
  }

  user(turn: Turn): JsonObject[] {
    const items: JsonObject[] = [];
    const own: (TextPart | MediaPart)[] = [];
    for (const part of turn.parts) {
      if (part.kind === 'result') items.push(this.result(part));
      else if (part.kind === 'text' || part.kind === 'media') own.push(part);
      else this.#losses.add(part.at);
    }
    const [first] = own;
    const plain = own.length === 1 && first?.kind === 'text' && first.cache === null;
    const content = plain ? first.text : this.content(own);
    if (content.length > 0) items.push({ type: 'message', role: 'user', content });
    return items;
  }
}

const toolsOf = (request: NeutralRequest, losses: Losses): JsonObject[] =>
  request.tools.map((tool) => {
    if (tool.cache !== null) losses.add(`${tool.at}.cache_control`);
    const description = tool.description === null ? {} : { description: tool.description };
    if (tool.custom !== null) {
      const { type, grammar } = tool.custom;
      const nested = typeof grammar === 'object' && grammar !== null ? { type, ...grammar } : tool.custom;
      return { type: 'custom', name: tool.name, ...description, ...(type === undefined ? {} : { format: nested }) };
    }
    const parameters = tool.schema ?? { type: 'object', properties: {} };
    return { type: 'function', name: tool.name, ...description, parameters, strict: tool.strict ?? false };
  });

const toolChoiceOf = (request: NeutralRequest): unknown => {
  const choice = request.toolChoice;
  if (choice === null || choice.mode === 'auto' || choice.mode === 'none') return choice?.mode;
  const isCustom = (name: string): boolean => request.tools.some((tool) => tool.name === name && tool.custom !== null);
  const named = choice.names.map((name) => ({ type: isCustom(name) ? 'custom' : 'function', name }));
  if (choice.mode === 'required' && named.length <= 1) return named[0] ?? 'required';
  return { type: 'allowed_tools', mode: choice.mode === 'required' ? 'required' : 'auto', tools: named };
};

const writeThinking = (body: JsonDraft, request: NeutralRequest, losses: Losses): void => {
  const { thinking } = request;
  if (thinking === null) return;
  if (thinking.effort === 'none' && thinking.visible === null) {
    // Models that cannot think refuse to be told not to.
    losses.add(thinking.at);
    return;
  }
  const effort = thinking.effort ?? (thinking.budgetTokens === null ? null : effortOf(thinking.budgetTokens));
  if (thinking.effort === null && thinking.budgetTokens !== null) losses.add(thinking.at);
  const reasoning: JsonDraft = {};
  if (effort !== null) reasoning.effort = effort;
  if (thinking.visible === true) reasoning.summary = 'auto';
  if (Object.keys(reasoning).length > 0) body.reasoning = reasoning;
  // Without it OpenAI keeps the thoughts itself, and the next request would have none.
  body.include = ['reasoning.encrypted_content'];
};

const writeOptions = (body: JsonDraft, request: NeutralRequest, from: Format, losses: Losses): void => {
  const options = new OptionSource(request.options, from, losses);
  for (const option of [
    'maxOutputTokens',
    'temperature',
    'topP',
    'topLogprobs',
    'user',
    'cacheKey',
    'metadata',
  ] as const) {
    const value = options.take(option);
    if (value !== undefined) body[optionPath('openai-responses', option)] = value;
  }
  if (request.options.topLogprobs !== undefined) options.take('logprobs');
  const parallel = options.take('parallelCalls');
  if (parallel !== undefined && request.tools.length > 0) body.parallel_tool_calls = parallel;
  const verbosity = options.take('verbosity');
  if (verbosity !== undefined) body.text = { ...(isObject(body.text) ? body.text : null), verbosity };
  if (request.options.serviceTier === 'flex' || request.options.serviceTier === 'priority')
    body.service_tier = options.take('serviceTier');
  options.rest();
};

/** A body of `/v1/responses` that leaves nothing behind at OpenAI. */
export const writeResponsesRequest = (
  request: NeutralRequest,
  from: Format,
  model: string,
  losses: Losses,
): JsonObject => {
  const writer = new ItemWriter(losses);
  const input: JsonObject[] = [];
  const body: JsonDraft = { model };
  const plain = request.system.every((part) => part.cache === null);
  if (request.system.length > 0 && plain) body.instructions = request.system.map((part) => part.text).join('\n\n');
  else if (request.system.length > 0)
    input.push({ type: 'message', role: 'system', content: writer.content(request.system) });
  for (const turn of request.turns) input.push(...(turn.role === 'user' ? writer.user(turn) : writer.assistant(turn)));
  body.input = input;
  if (request.tools.length > 0) {
    body.tools = toolsOf(request, losses);
    const choice = toolChoiceOf(request);
    if (choice !== undefined) body.tool_choice = choice;
  }
  if (request.output?.kind === 'json') body.text = { format: { type: 'json_object' } };
  if (request.output?.kind === 'schema')
    body.text = { format: { type: 'json_schema', ...schemaFormat(request.output) } };
  if (request.stop.length > 0)
    losses.add(
      {
        'openai-chat': 'stop',
        'openai-responses': '',
        anthropic: 'stop_sequences',
        gemini: 'generationConfig.stopSequences',
      }[from],
    );
  writeThinking(body, request, losses);
  writeOptions(body, request, from, losses);
  body.store = false;
  if (request.stream) body.stream = true;
  return body;
};
