import type { Format, JsonObject } from '../format.ts';
import { isObject, type JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralRequest, Turn } from '../neutral.ts';
import { OptionSource, optionPath } from '../option-names.ts';
import { budgetOf, takesBudget } from '../thinking-effort.ts';
import { ContentWriter } from './content-writer.ts';

/** Anthropic wants a cap; this is the one of callers who set none, in tokens. All models since 2025 allow it. */
export const defaultMaxTokens = 16_384;

/** Anthropic's smallest number of tokens to think with. */
const minBudgetTokens = 1_024;

interface Message {
  readonly role: string;
  readonly content: JsonObject[];
}

const messagesOf = (turns: readonly Turn[], writer: ContentWriter): JsonObject[] => {
  const messages: Message[] = [];
  for (const turn of turns) {
    const content = writer.blocks(turn.parts);
    const last = messages.at(-1);
    // All results of a turn's calls must be in the one message that follows.
    if (last?.role === turn.role) last.content.push(...content);
    else if (content.length > 0) messages.push({ role: turn.role, content });
  }
  return messages.map(({ role, content }) => {
    const [first] = content;
    const plain = content.length === 1 && first?.type === 'text' && first.cache_control === undefined;
    return { role, content: plain ? first.text : content };
  });
};

const toolsOf = (request: NeutralRequest, writer: ContentWriter, losses: Losses): JsonObject[] => {
  const tools: JsonObject[] = [];
  for (const tool of request.tools) {
    if (tool.custom !== null) {
      losses.add(tool.at);
      continue;
    }
    const written: JsonDraft = { name: tool.name };
    if (tool.description !== null) written.description = tool.description;
    written.input_schema = tool.schema === null ? { type: 'object', properties: {} } : tool.schema;
    if (tool.strict === true) written.strict = true;
    tools.push({ ...written, ...writer.cache(tool) });
  }
  return tools;
};

const toolChoiceOf = (request: NeutralRequest, losses: Losses): JsonObject | null => {
  const choice = request.toolChoice;
  const single = request.options.parallelCalls === false ? { disable_parallel_tool_use: true } : {};
  if (choice === null) return request.options.parallelCalls === false ? { type: 'auto', ...single } : null;
  if (choice.mode === 'none') return { type: 'none' };
  if (choice.mode === 'auto') return { type: 'auto', ...single };
  const [name] = choice.names;
  if (choice.mode === 'required' && choice.names.length === 1) return { type: 'tool', name, ...single };
  if (choice.names.length > 0) losses.add(choice.at);
  return { type: choice.mode === 'required' ? 'any' : 'auto', ...single };
};

/** True when a loop of tools is under way whose call has lost the thoughts before it: those must not think on. */
const hasUnsignedLoop = (turns: readonly Turn[]): boolean => {
  const last = turns.findLast((turn) => turn.role === 'assistant');
  if (last === undefined || !last.parts.some((part) => part.kind === 'call')) return false;
  const [first] = last.parts;
  return first?.kind !== 'thinking' || first.signature === null || !first.signature.origin.startsWith('anthropic');
};

/** Thinking as the model wants it: older ones a budget, newer ones an effort. Returns the tokens of the budget. */
const writeThinking = (body: JsonDraft, request: NeutralRequest, model: string, losses: Losses): number => {
  const { thinking } = request;
  if (thinking === null) return 0;
  if (thinking.effort === 'none') {
    body.thinking = { type: 'disabled' };
    return 0;
  }
  const old = takesBudget(model);
  const forced = request.toolChoice?.mode === 'required';
  if (forced || (old && hasUnsignedLoop(request.turns))) {
    losses.add(thinking.at);
    return 0;
  }
  const display = thinking.visible === false ? { display: 'omitted' } : {};
  if (old) {
    const wanted = thinking.budgetTokens ?? budgetOf(thinking.effort ?? 'medium');
    const budget = Math.max(minBudgetTokens, wanted);
    body.thinking = { type: 'enabled', budget_tokens: budget, ...display };
    return budget;
  }
  if (thinking.budgetTokens !== null) {
    body.thinking = { type: 'enabled', budget_tokens: Math.max(minBudgetTokens, thinking.budgetTokens), ...display };
    return thinking.budgetTokens;
  }
  body.thinking = { type: 'adaptive', ...display };
  if (thinking.effort !== null)
    body.output_config = { effort: thinking.effort === 'minimal' ? 'low' : thinking.effort };
  return 0;
};

const writeSampling = (body: JsonDraft, options: OptionSource, thinks: boolean): void => {
  const temperature = options.take('temperature');
  const topP = options.take('topP');
  const topK = options.take('topK');
  // Anthropic takes these from models that think only at their defaults.
  if (thinks) {
    if (temperature !== undefined && temperature !== 1) options.lose('temperature');
    if (topP !== undefined && topP < 0.95) options.lose('topP');
    if (topK !== undefined) options.lose('topK');
    return;
  }
  if (temperature !== undefined) {
    body.temperature = Math.min(1, temperature);
    if (temperature > 1) options.lose('temperature');
  }
  if (topK !== undefined) body.top_k = topK;
  // Newer models refuse both; the temperature is what callers mean.
  if (topP !== undefined && temperature === undefined) body.top_p = topP;
  else if (topP !== undefined && topP !== 1) options.lose('topP');
};

/** A body of `/v1/messages`. */
export const writeMessagesRequest = (
  request: NeutralRequest,
  from: Format,
  model: string,
  losses: Losses,
): JsonObject => {
  const writer = new ContentWriter(losses);
  const options = new OptionSource(request.options, from, losses);
  const body: JsonDraft = { model, max_tokens: 0 };
  const tools = toolsOf(request, writer, losses);
  const system = request.system.map((part) => writer.text(part)).filter((block) => block !== null);
  const [only] = system;
  const isPlain = system.length === 1 && only?.cache_control === undefined;
  if (system.length > 0) body.system = isPlain ? only?.text : system;
  body.messages = messagesOf(request.turns, writer);
  if (tools.length > 0) {
    body.tools = tools;
    const choice = toolChoiceOf(request, losses);
    if (choice !== null) body.tool_choice = choice;
  }
  options.take('parallelCalls');
  const budget = writeThinking(body, request, model, losses);
  // Here the cap includes the thoughts: one that leaves no room for an answer is lifted above them.
  const cap = options.take('maxOutputTokens') ?? defaultMaxTokens + budget;
  body.max_tokens = cap > budget ? cap : budget + cap;
  if (cap <= budget) losses.add(optionPath(from, 'maxOutputTokens'));
  if (request.output?.kind === 'json') losses.add(request.output.at);
  if (request.output?.kind === 'schema') {
    const format = { type: 'json_schema', schema: request.output.schema };
    body.output_config = { ...(isObject(body.output_config) ? body.output_config : null), format };
    if (request.output.description !== null) losses.add(`${request.output.at}.description`);
  }
  if (request.stop.length > 0) body.stop_sequences = request.stop;
  const isThinking = body.thinking !== undefined && request.thinking?.effort !== 'none';
  writeSampling(body, options, isThinking);
  const user = options.take('user');
  if (user !== undefined) body.metadata = { user_id: user };
  options.rest();
  if (request.stream) body.stream = true;
  return body;
};
