import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { allRoutes } from './all.ts';
import { openApiOf } from './openapi.ts';
import type { Route } from './route.ts';

const documentShape = z.object({
  openapi: z.literal('3.1.0'),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        operationId: z.string(),
        summary: z.string().min(5),
        parameters: z.array(
          z.object({ name: z.string(), in: z.enum(['path', 'query']), required: z.boolean(), schema: z.object({}) }),
        ),
        responses: z.record(z.string(), z.object({ description: z.string() })),
      }),
    ),
  ),
});

const document = documentShape.parse(JSON.parse(JSON.stringify(openApiOf(allRoutes, '1.2.3'))));
const entries: [string, Route][] = Object.entries(allRoutes);

test('each route is one operation under its own name', () => {
  for (const [name, route] of entries) {
    const operation = document.paths[route.path]?.[route.method.toLowerCase()];
    assert.equal(operation?.operationId, name);
  }
  const operations = Object.values(document.paths).flatMap((item) => Object.values(item));
  assert.equal(operations.length, entries.length, 'two routes share a method and path');
});

test('the placeholders of a path are exactly its parameters', () => {
  for (const [name, route] of entries) {
    const inPath = [...route.path.matchAll(/\{([^}]+)\}/g)].map((m) => m[1]).sort();
    assert.deepEqual(Object.keys(route.params?.shape ?? {}).sort(), inPath, name);
    const operation = document.paths[route.path]?.[route.method.toLowerCase()];
    const told = (operation?.parameters ?? []).filter((p) => p.in === 'path').map((p) => p.name);
    assert.deepEqual(told.sort(), inPath, name);
  }
});

test('a field with a default is optional, one without is required', () => {
  const parameters = document.paths['/api/sandboxes/{id}/files']?.get?.parameters ?? [];
  assert.equal(parameters.find((p) => p.name === 'path')?.required, true);
  assert.equal(parameters.find((p) => p.name === 'offset')?.required, false);
});

test('a route that changes something is closed to viewers', () => {
  for (const [name, route] of entries) {
    if (route.method !== 'GET') assert.ok(route.role === 'developer' || route.role === 'owner', `${name} changes`);
  }
});
