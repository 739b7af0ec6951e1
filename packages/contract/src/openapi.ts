import { z } from 'zod';
import { problem, problemMediaType } from './problem.ts';
import type { Route } from './route.ts';

type Json = Record<string, unknown>;

const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
};

/** `in` is where OpenAPI looks for them; a field that the input schema does not require is optional. */
const parametersOf = (schema: z.ZodObject | undefined, where: 'path' | 'query'): Json[] => {
  if (schema === undefined) return [];
  const { properties, required } = schemaOf(schema, 'input');
  const needed = Array.isArray(required) ? required : [];
  return Object.entries(properties ?? {}).map(([name, field]) => ({
    name,
    in: where,
    required: where === 'path' || needed.includes(name),
    schema: field,
  }));
};

const bodyOf = (route: Route): Json => {
  if (route.bodyKind === 'bytes')
    return { requestBody: { required: true, content: { 'application/octet-stream': { schema: {} } } } };
  if (route.body === undefined) return {};
  return {
    requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } },
  };
};

const answerOf = (route: Route): Json => {
  const schema = route.response === undefined ? {} : schemaOf(route.response, 'output');
  switch (route.answer) {
    case 'json':
      return { description: 'Success.', content: { 'application/json': { schema } } };
    case 'sse':
      return { description: 'One document a server-sent event.', content: { 'text/event-stream': { schema } } };
    case 'bytes':
      return { description: 'The bytes.', content: { 'application/octet-stream': { schema: {} } } };
    case 'websocket':
      return { description: 'Switches to the WebSocket protocol.' };
    case 'empty':
      return { description: 'Success, without a body.' };
  }
};

const statusOf = (route: Route): number =>
  route.status ?? (route.answer === 'websocket' ? 101 : route.answer === 'empty' ? 204 : 200);

const operationOf = (name: string, route: Route): Json => ({
  operationId: name,
  summary: route.summary,
  'x-holdfast-role': route.role,
  ...(route.role === 'public' ? { security: [] } : {}),
  parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')],
  ...bodyOf(route),
  responses: {
    [String(statusOf(route))]: answerOf(route),
    default: {
      description: 'A problem.',
      content: { [problemMediaType]: { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  },
});

/** The OpenAPI 3.1 document of these routes. */
export const openApiOf = (routes: Readonly<Record<string, Route>>, version: string): Json => {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries(routes)) {
    const item = paths[route.path] ?? {};
    item[route.method.toLowerCase()] = operationOf(name, route);
    paths[route.path] = item;
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdfast',
      version,
      summary: 'Self-hosted agent infrastructure.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key, hf_…' } },
      schemas: { Problem: schemaOf(problem, 'output') },
    },
  };
};
