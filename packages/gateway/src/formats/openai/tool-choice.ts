import { isObject, type Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { ToolChoice } from '../neutral.ts';

/** The name of a tool, nested as chat completions have it, or plain as responses have it. */
const nameIn = (value: unknown): string | null => {
  if (!isObject(value)) return null;
  for (const holder of [value, value.function, value.custom])
    if (isObject(holder) && typeof holder.name === 'string') return holder.name;
  return null;
};

/** `tool_choice` of either format of OpenAI; a choice of a tool of the provider's own is named as lost. */
export const readToolChoice = (body: Members, losses: Losses): ToolChoice | null => {
  const at = 'tool_choice';
  const choice = body.take(at);
  if (choice === undefined || choice === null) return null;
  if (choice === 'auto' || choice === 'none') return { mode: choice, at };
  if (choice === 'required') return { mode: 'required', names: [], at };
  if (isObject(choice) && choice.type === 'allowed_tools') {
    const allowed = isObject(choice.allowed_tools) ? choice.allowed_tools : choice;
    const tools: unknown[] = Array.isArray(allowed.tools) ? allowed.tools : [];
    const names = tools.map(nameIn).filter((name) => name !== null);
    if (names.length > 0) return { mode: allowed.mode === 'required' ? 'required' : 'allowed', names, at };
  }
  const name = nameIn(choice);
  if (name !== null) return { mode: 'required', names: [name], at };
  losses.add(at);
  return null;
};
