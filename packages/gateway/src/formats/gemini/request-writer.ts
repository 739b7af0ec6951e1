import type { Format, JsonObject } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralRequest, Thinking, ToolDefinition } from '../neutral.ts';
import { OptionSource, optionPath } from '../option-names.ts';
import { budgetOf, effortOf, takesThinkingBudget } from '../thinking-effort.ts';
import { GeminiPartWriter } from './content-writer.ts';

/** Gemini's levels of thinking; what is beyond them becomes the nearest. */
const levels: Readonly<Record<string, string>> = {
  none: 'MINIMAL',
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
};

const thinkingConfig = (thinking: Thinking, model: string, losses: Losses): JsonObject | null => {
  const config: JsonDraft = {};
  const { effort, budgetTokens } = thinking;
  if (takesThinkingBudget(model)) {
    const budget = effort === 'none' ? 0 : (budgetTokens ?? (effort === null ? null : budgetOf(effort)));
    if (budget !== null) config.thinkingBudget = budget;
  } else {
    const wanted = effort ?? (budgetTokens === null ? null : effortOf(budgetTokens));
    if (wanted !== null) config.thinkingLevel = levels[wanted] ?? 'HIGH';
    if ((effort === null && budgetTokens !== null) || wanted === 'none' || wanted === 'xhigh' || wanted === 'max')
      losses.add(thinking.at);
  }
  if (thinking.visible !== null && effort !== 'none') config.includeThoughts = thinking.visible;
  return Object.keys(config).length > 0 ? config : null;
};

const declarationOf = (tool: ToolDefinition, losses: Losses): JsonObject | null => {
  if (tool.custom !== null) {
    losses.add(tool.at);
    return null;
  }
  if (tool.cache !== null) losses.add(`${tool.at}.cache_control`);
  const declaration: JsonDraft = { name: tool.name };
  if (tool.description !== null) declaration.description = tool.description;
  // Gemini refuses a schema of an object without members.
  const properties = tool.schema?.properties;
  const hasMembers = typeof properties === 'object' && properties !== null && Object.keys(properties).length > 0;
  if (tool.schema !== null && (hasMembers || properties === undefined)) declaration.parametersJsonSchema = tool.schema;
  return declaration;
};

const toolConfig = (request: NeutralRequest): JsonObject | null => {
  const choice = request.toolChoice;
  if (choice === null) return null;
  if (choice.mode === 'auto' || choice.mode === 'none')
    return { functionCallingConfig: { mode: choice.mode.toUpperCase() } };
  const names = choice.names.length > 0 ? { allowedFunctionNames: choice.names } : {};
  return { functionCallingConfig: { mode: choice.mode === 'required' ? 'ANY' : 'VALIDATED', ...names } };
};

const generationConfig = (request: NeutralRequest, options: OptionSource, model: string, losses: Losses): JsonDraft => {
  const config: JsonDraft = {};
  const carried = [
    'temperature',
    'topP',
    'topK',
    'choices',
    'maxOutputTokens',
    'seed',
    'frequencyPenalty',
    'presencePenalty',
    'logprobs',
    'topLogprobs',
  ] as const;
  for (const option of carried) {
    const value = options.take(option);
    if (value !== undefined) config[optionPath('gemini', option).slice('generationConfig.'.length)] = value;
  }
  if (request.stop.length > 0) config.stopSequences = request.stop;
  if (request.output !== null) config.responseMimeType = 'application/json';
  if (request.output?.kind === 'schema') {
    config.responseJsonSchema = request.output.schema;
    if (request.output.description !== null) losses.add(`${request.output.at}.description`);
  }
  const thinking = request.thinking === null ? null : thinkingConfig(request.thinking, model, losses);
  if (thinking !== null) config.thinkingConfig = thinking;
  return config;
};

/** A body of `:generateContent`; the model and whether to stream stand in Gemini's URL, not here. */
export const writeGeminiRequest = (
  request: NeutralRequest,
  from: Format,
  model: string,
  losses: Losses,
): JsonObject => {
  const writer = new GeminiPartWriter(losses, !takesThinkingBudget(model));
  const options = new OptionSource(request.options, from, losses);
  const contents: JsonObject[] = [];
  for (const turn of request.turns) {
    const parts = writer.parts(turn.parts);
    if (parts.length > 0) contents.push({ role: turn.role === 'assistant' ? 'model' : 'user', parts });
  }
  const body: JsonDraft = { contents };
  if (request.system.length > 0) body.systemInstruction = { parts: writer.parts(request.system) };
  const declarations = request.tools.map((tool) => declarationOf(tool, losses)).filter((one) => one !== null);
  if (declarations.length > 0) {
    body.tools = [{ functionDeclarations: declarations }];
    const config = toolConfig(request);
    if (config !== null) body.toolConfig = config;
  }
  const config = generationConfig(request, options, model, losses);
  if (Object.keys(config).length > 0) body.generationConfig = config;
  const tier = request.options.serviceTier;
  if (tier === 'flex' || tier === 'priority') body.serviceTier = options.take('serviceTier');
  options.rest();
  return body;
};
