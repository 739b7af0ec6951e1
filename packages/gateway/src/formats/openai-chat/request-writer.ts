import { argumentText } from '../call-arguments.ts';
import { callIdFor } from '../call-identity.ts';
import type { Format, JsonObject } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { audioFormat, urlOfSource } from '../media-source.ts';
import type { MediaPart, NeutralRequest, Part, ResultPart, TextPart, Thinking, ToolDefinition } from '../neutral.ts';
import { cacheBreakpoint, knowsBreakpoints } from '../openai/cache-breakpoint.ts';
import { schemaFormat } from '../openai/output-format.ts';
import { OptionSource, optionPath } from '../option-names.ts';
import { effortOf } from '../thinking-effort.ts';
import { extraContent } from './thoughts.ts';

/** Writes the parts of one request; holds what they all need to know. */
class PartWriter {
  readonly #losses: Losses;
  readonly #breakpoints: boolean;

  constructor(model: string, losses: Losses) {
    this.#losses = losses;
    this.#breakpoints = knowsBreakpoints(model);
  }

  text(part: TextPart): JsonObject {
    return { type: 'text', text: part.text, ...this.cache(part) };
  }

  cache(part: { readonly cache: TextPart['cache']; readonly at: string }): JsonObject {
    if (this.#breakpoints || part.cache === null) return cacheBreakpoint(part.cache, part.at, this.#losses);
    this.#losses.add(`${part.at}.cache_control`);
    return {};
  }

  media(part: MediaPart): JsonObject | null {
    const { source } = part;
    if (part.media === 'image' && source.kind !== 'file') {
      const image = { url: urlOfSource(source), ...(part.detail === null ? {} : { detail: part.detail }) };
      return { type: 'image_url', image_url: image, ...this.cache(part) };
    }
    if (part.media === 'audio' && source.kind === 'data') {
      const format = audioFormat(source.mimeType);
      if (format !== null) return { type: 'input_audio', input_audio: { data: source.base64, format } };
    }
    if (part.media === 'document' && source.kind === 'data') {
      const file = { filename: part.name ?? 'document.pdf', file_data: urlOfSource(source) };
      return { type: 'file', file, ...this.cache(part) };
    }
    this.#losses.add(part.at);
    return null;
  }

  content(parts: readonly (TextPart | MediaPart)[]): string | JsonObject[] {
    const [first] = parts;
    if (first === undefined) return '';
    const written = parts.map((part) => (part.kind === 'text' ? this.text(part) : this.media(part)));
    const kept = written.filter((part) => part !== null);
    const only = kept.length === 1 ? kept[0] : undefined;
    return only !== undefined && first.kind === 'text' && only.prompt_cache_breakpoint === undefined
      ? first.text
      : kept;
  }

  assistant(parts: readonly Part[]): JsonObject | null {
    const texts: TextPart[] = [];
    const calls: JsonObject[] = [];
    let refusal: string | null = null;
    for (const part of parts) {
      if (part.kind === 'text') texts.push(part);
      else if (part.kind === 'refusal') refusal = (refusal ?? '') + part.text;
      else if (part.kind === 'call') {
        const text = argumentText(part.input, part.at, this.#losses);
        const id = callIdFor('openai-chat', part.id);
        const call = part.custom
          ? { id, type: 'custom', custom: { name: part.name, input: text } }
          : { id, type: 'function', function: { name: part.name, arguments: text } };
        calls.push({ ...call, ...extraContent(part.signature) });
        if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
      }
      // Thinking is for its own provider: servers of chat completions refuse it, or read it as an answer.
      else this.#losses.add(part.at);
    }
    if (texts.length === 0 && calls.length === 0 && refusal === null) return null;
    const message: JsonDraft = { role: 'assistant', content: texts.length === 0 ? null : this.content(texts) };
    if (refusal !== null) message.refusal = refusal;
    if (calls.length > 0) message.tool_calls = calls;
    return message;
  }

  /** A result as a message of its own, and what only a user's message may carry, such as pictures. */
  result(part: ResultPart): { message: JsonObject; media: MediaPart[] } {
    if (part.isError) this.#losses.add(`${part.at}.is_error`);
    if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
    const texts = part.content.filter((one) => one.kind === 'text');
    const media = part.content.filter((one) => one.kind === 'media');
    const content = this.content(texts);
    return { message: { role: 'tool', tool_call_id: callIdFor('openai-chat', part.callId), content }, media };
  }

  user(parts: readonly Part[]): JsonObject[] {
    const messages: JsonObject[] = [];
    const own: (TextPart | MediaPart)[] = [];
    for (const part of parts) {
      if (part.kind === 'result') {
        const { message, media } = this.result(part);
        messages.push(message);
        own.push(...media);
      } else if (part.kind === 'text' || part.kind === 'media') own.push(part);
      else this.#losses.add(part.at);
    }
    const content = own.length === 0 ? [] : this.content(own);
    if (content.length > 0) messages.push({ role: 'user', content });
    return messages;
  }
}

const toolOf = (tool: ToolDefinition, losses: Losses): JsonObject => {
  if (tool.cache !== null) losses.add(`${tool.at}.cache_control`);
  const base: JsonDraft = { name: tool.name };
  if (tool.description !== null) base.description = tool.description;
  if (tool.custom !== null) {
    const { type, syntax, definition } = tool.custom;
    const grammar = tool.custom.grammar ?? { syntax, definition };
    if (type !== undefined) base.format = type === 'grammar' ? { type, grammar } : { type };
    return { type: 'custom', custom: base };
  }
  if (tool.schema !== null) base.parameters = tool.schema;
  if (tool.strict !== null) base.strict = tool.strict;
  return { type: 'function', function: base };
};

const toolChoiceOf = (request: NeutralRequest): unknown => {
  const choice = request.toolChoice;
  if (choice === null || choice.mode === 'auto' || choice.mode === 'none') return choice?.mode;
  const isCustom = (name: string): boolean => request.tools.some((tool) => tool.name === name && tool.custom !== null);
  const named = choice.names.map((name) =>
    isCustom(name) ? { type: 'custom', custom: { name } } : { type: 'function', function: { name } },
  );
  if (choice.mode === 'required' && named.length <= 1) return named[0] ?? 'required';
  const mode = choice.mode === 'required' ? 'required' : 'auto';
  return { type: 'allowed_tools', allowed_tools: { mode, tools: named } };
};

/** Of thinking, chat completions take the effort only. */
export const effortFor = (thinking: Thinking, losses: Losses): string | null => {
  if (thinking.effort !== null) return thinking.effort;
  if (thinking.budgetTokens === null) return null;
  losses.add(thinking.at);
  return effortOf(thinking.budgetTokens);
};

const writeOptions = (body: JsonDraft, request: NeutralRequest, from: Format, losses: Losses): void => {
  const options = new OptionSource(request.options, from, losses);
  const carried = [
    'maxOutputTokens',
    'temperature',
    'topP',
    'seed',
    'frequencyPenalty',
    'presencePenalty',
    'choices',
    'logprobs',
    'topLogprobs',
    'user',
    'verbosity',
    'cacheKey',
    'metadata',
  ] as const;
  for (const option of carried) {
    const value = options.take(option);
    if (value !== undefined) body[optionPath('openai-chat', option)] = value;
  }
  const parallel = options.take('parallelCalls');
  if (parallel !== undefined && request.tools.length > 0) body.parallel_tool_calls = parallel;
  if (request.options.serviceTier === 'flex' || request.options.serviceTier === 'priority')
    body.service_tier = options.take('serviceTier');
  options.rest();
};

/**
 * A body of `/v1/chat/completions`. The cap of the output is `max_completion_tokens`; a server that knows only
 * `max_tokens` needs it renamed by its provider.
 */
export const writeChatRequest = (request: NeutralRequest, from: Format, model: string, losses: Losses): JsonObject => {
  const writer = new PartWriter(model, losses);
  const messages: JsonObject[] = [];
  if (request.system.length > 0) messages.push({ role: 'system', content: writer.content(request.system) });
  for (const turn of request.turns) {
    if (turn.role === 'user') messages.push(...writer.user(turn.parts));
    else {
      const message = writer.assistant(turn.parts);
      if (message !== null) messages.push(message);
    }
  }
  const body: JsonDraft = { model, messages };
  if (request.tools.length > 0) body.tools = request.tools.map((tool) => toolOf(tool, losses));
  const toolChoice = toolChoiceOf(request);
  if (toolChoice !== undefined && request.tools.length > 0) body.tool_choice = toolChoice;
  if (request.output?.kind === 'json') body.response_format = { type: 'json_object' };
  if (request.output?.kind === 'schema')
    body.response_format = { type: 'json_schema', json_schema: schemaFormat(request.output) };
  if (request.stop.length > 0) body.stop = request.stop.slice(0, 4);
  if (request.stop.length > 4)
    losses.add(from === 'gemini' ? 'generationConfig.stopSequences[4]' : 'stop_sequences[4]');
  if (request.thinking !== null) {
    const effort = effortFor(request.thinking, losses);
    if (effort !== null && effort !== 'none') body.reasoning_effort = effort;
    // Models that cannot think refuse to be told not to.
    else if (effort === 'none') losses.add(request.thinking.at);
  }
  writeOptions(body, request, from, losses);
  if (request.stream) {
    body.stream = true;
    body.stream_options = { include_usage: true };
  }
  return body;
};
