import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { ToolDefinition } from '../neutral.ts';

/**
 * A tool in either format of OpenAI: chat completions nest the definition in `function` or `custom`, responses do not.
 * Null for tools that only the provider itself can run; they are named.
 */
export const readTool = (value: unknown, at: string, losses: Losses): ToolDefinition | null => {
  if (!isObject(value) || (value.type !== 'function' && value.type !== 'custom')) {
    losses.add(at);
    return null;
  }
  const nested = value[value.type];
  const inner = isObject(nested) ? new Members(nested, `${at}.${value.type}`, losses) : new Members(value, at, losses);
  inner.ignore('type');
  const name = inner.text('name');
  if (name === null) throw losses.invalid(inner.at, 'has no name');
  const isCustom = value.type === 'custom';
  const definition: ToolDefinition = {
    name,
    description: inner.text('description'),
    schema: isCustom ? null : inner.nested('parameters'),
    strict: isCustom ? null : inner.flag('strict'),
    custom: isCustom ? (inner.nested('format') ?? {}) : null,
    at,
    cache: isObject(value.cache_control) ? (value.cache_control.ttl === '1h' ? 'long' : 'default') : null,
  };
  inner.ignore('cache_control');
  inner.rest();
  if (inner.object !== value) {
    const outer = new Members(value, at, losses);
    outer.ignore('type', value.type, 'cache_control');
    outer.rest();
  }
  return definition;
};
