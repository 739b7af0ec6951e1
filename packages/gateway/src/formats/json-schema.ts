import type { JsonObject } from './format.ts';
import { isObject, type JsonDraft } from './json-value.ts';

/** Schemas nested deeper than this are passed on unchanged: no provider takes them anyway. */
const maxDepth = 64;

/** Members of Gemini's own schema language that JSON Schema has no use for. */
const geminiOnly = new Set(['propertyOrdering', 'nullable', 'example']);

const converted = (value: unknown, depth: number): unknown => {
  if (!isObject(value) || depth > maxDepth) return value;
  const schema: JsonDraft = {};
  for (const [key, member] of Object.entries(value)) {
    if (geminiOnly.has(key)) continue;
    if (key === 'type' && typeof member === 'string') schema.type = member.toLowerCase();
    else if (key === 'properties' && isObject(member)) {
      const properties = Object.entries(member).map(([name, property]) => [name, converted(property, depth + 1)]);
      schema.properties = Object.fromEntries(properties);
    } else if (key === 'items' || key === 'additionalProperties') schema[key] = converted(member, depth + 1);
    else if (key === 'anyOf' && Array.isArray(member)) schema.anyOf = member.map((one) => converted(one, depth + 1));
    // Gemini writes these 64-bit integers as text.
    else if (/^(min|max)(Items|Length|Properties)$/.test(key) && typeof member === 'string')
      schema[key] = Number(member);
    else schema[key] = member;
  }
  if (value.nullable === true && typeof schema.type === 'string') schema.type = [schema.type, 'null'];
  return schema;
};

/** JSON Schema of a schema in Gemini's language: OpenAPI 3.0 with types in capitals. */
export const schemaOfGemini = (schema: JsonObject): JsonObject => {
  const result = converted(schema, 0);
  return isObject(result) ? result : schema;
};

const children = (schema: JsonObject): unknown[] => {
  const found: unknown[] = [];
  for (const key of ['properties', '$defs', 'definitions'] as const) {
    const group = schema[key];
    if (isObject(group)) found.push(...Object.values(group));
  }
  for (const key of ['anyOf', 'oneOf', 'allOf'] as const) {
    const group = schema[key];
    if (Array.isArray(group)) found.push(...group);
  }
  if (schema.items !== undefined) found.push(schema.items);
  return found;
};

/**
 * True when OpenAI takes the schema as strict: every object closed and every property required.
 * https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
 */
export const isStrictSchema = (schema: unknown, depth = 0): boolean => {
  if (!isObject(schema) || depth > maxDepth) return false;
  if (schema.type === 'object' || schema.properties !== undefined) {
    const { required } = schema;
    const names = isObject(schema.properties) ? Object.keys(schema.properties) : [];
    if (schema.additionalProperties !== false) return false;
    if (names.length > 0 && (!Array.isArray(required) || !names.every((name) => required.includes(name)))) return false;
  }
  return children(schema).every((child) => isStrictSchema(child, depth + 1));
};
