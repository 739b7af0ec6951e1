import type { JsonObject } from '../format.ts';
import { isStrictSchema } from '../json-schema.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { OutputShape } from '../neutral.ts';

type SchemaShape = Extract<OutputShape, { kind: 'schema' }>;

/** The object that holds name, schema and strictness in both formats of OpenAI. */
export const readSchemaFormat = (value: JsonObject, at: string, losses: Losses): SchemaShape | null => {
  const format = new Members(value, at, losses);
  format.ignore('type');
  const { schema } = value;
  const shape: SchemaShape = {
    kind: 'schema',
    schema: isObject(schema) ? schema : {},
    name: format.text('name'),
    description: format.text('description'),
    strict: format.flag('strict'),
    at,
  };
  if (format.nested('schema') === null) {
    losses.add(at);
    return null;
  }
  format.rest();
  return shape;
};

/** OpenAI wants a name, and a schema of a certain kind where it shall be strict. */
export const schemaFormat = (shape: SchemaShape): JsonObject => ({
  name: shape.name ?? 'response',
  ...(shape.description === null ? {} : { description: shape.description }),
  schema: shape.schema,
  strict: shape.strict ?? isStrictSchema(shape.schema),
});
