import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import { estimate } from './estimate.ts';
import { type Format, formats, type JsonObject, type SseEvent } from './format.ts';
import { eventsOf, pairs, readDocuments } from './golden-files.suite.ts';
import { isObject, parsedJson } from './json-value.ts';
import { SeededRandom } from './seeded-random.suite.ts';
import { streamTranslator, translateRequest, translateResponse } from './translate.ts';
import { usageOf, usageReader } from './usage.ts';

const rounds = 100;

const junk = (random: SeededRandom): unknown =>
  random.pick([
    null,
    0,
    -1,
    1e308,
    '',
    'text',
    '{"a":',
    '\u0000\ud800',
    true,
    [],
    {},
    [[[]]],
    { type: 'text' },
    { __proto__: null, constructor: 'x', type: 'tool_use' },
    JSON.parse('{"__proto__":{"polluted":1},"role":"user"}'),
    Array.from({ length: 50 }, () => ({ role: 'user' })),
  ]);

/** A copy with one to three places replaced, taken away, or cut off. */
const mutated = (value: unknown, random: SeededRandom): unknown => {
  const copy: unknown = structuredClone(value);
  for (let times = 0; times <= random.below(3); times += 1) {
    let place: unknown = copy;
    for (;;) {
      const holder: Record<string, unknown> | null = isObject(place) || Array.isArray(place) ? Object(place) : null;
      const keys = holder === null ? [] : Object.keys(holder);
      const key = keys[random.below(Math.max(1, keys.length))];
      if (holder === null || key === undefined) break;
      const inner = holder[key];
      if (random.chance(0.3) || (!isObject(inner) && !Array.isArray(inner))) {
        if (random.chance(0.2)) delete holder[key];
        else if (typeof inner === 'string' && random.chance(0.4))
          holder[key] = inner.slice(0, random.below(inner.length));
        else holder[key] = junk(random);
        break;
      }
      place = inner;
    }
  }
  // Through JSON: documents have no holes and no objects of their own kind.
  return JSON.parse(JSON.stringify(copy) ?? 'null');
};

const onlyCatalogue = (code: string, run: () => unknown): boolean => {
  try {
    // What leaves must be JSON.
    JSON.stringify(run());
    return true;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    assert.ok(error.code === code, `${error.code} instead of ${code}: ${error.message}`);
    assert.ok(error.message.length < 3_000);
    return false;
  }
};

for (const [from, to] of pairs)
  test(`[R-formats-hostile] broken documents of ${from} become ${to}, or an error of the catalogue`, async () => {
    const documents = await readDocuments(from);
    const random = new SeededRandom(4_711);
    let [translated, refused] = [0, 0];
    const run = (code: string, body: unknown, translate: (object: JsonObject) => unknown): void => {
      if (!isObject(body)) return;
      if (onlyCatalogue(code, () => translate(body))) translated += 1;
      else refused += 1;
    };
    for (let round = 0; round < rounds; round += 1) {
      for (const body of Object.values(documents.requests))
        run('request.invalid', mutated(body, random), (object) => translateRequest(from, to, object, 'm'));
      for (const body of Object.values(documents.answers))
        run('gateway.provider_failed', mutated(body, random), (object) => translateResponse(from, to, object, 'm'));
    }
    assert.ok(translated > 200 && refused > 10, `${translated} translated, ${refused} refused`);
    assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  });

/** A stream with events broken, left out, doubled, in another order, or unknown. */
const broken = (events: readonly SseEvent[], random: SeededRandom): SseEvent[] => {
  const copy = events.map((event) => ({ ...event }));
  for (let times = 0; times <= random.below(3); times += 1) {
    const i = random.below(copy.length);
    const event = copy[i];
    if (event === undefined) continue;
    const way = random.below(7);
    if (way === 0) copy.splice(i, 1);
    else if (way === 1) copy.splice(random.below(copy.length), 0, { ...event });
    else if (way === 2) copy[i] = { ...event, data: event.data.slice(0, random.below(event.data.length)) };
    else if (way === 3) copy[i] = { event: 'unheard.of', data: '{"type":"unheard.of","x":1}' };
    else if (way === 4) copy[i] = { event: random.chance(0.5) ? null : 'x', data: JSON.stringify(junk(random)) ?? '' };
    else copy[i] = { ...event, data: JSON.stringify(mutated(parsedJson(event.data) ?? {}, random)) };
  }
  return copy;
};

for (const [from, to] of pairs)
  test(`[R-formats-hostile] broken streams of ${from} become ${to}, or end with an error of the catalogue`, async () => {
    const { streams } = await readDocuments(from);
    const random = new SeededRandom(815);
    for (let round = 0; round < rounds; round += 1)
      for (const stream of Object.values(streams)) {
        const events = broken(eventsOf(stream), random);
        onlyCatalogue('gateway.stream_broken', () => {
          const translator = streamTranslator(from, to, 'm');
          const out = events.flatMap((event) => translator.push(event));
          out.push(...translator.end());
          for (const { data } of out) if (data !== '[DONE]') JSON.parse(data);
          assert.deepEqual(translator.end(), []);
          assert.ok(out.length > 0, 'a stream says at least how it ended');
          return out;
        });
      }
  });

test('[R-formats-hostile] readers of usage and estimates take anything', async () => {
  const random = new SeededRandom(3);
  for (const format of formats) {
    const documents = await readDocuments(format);
    for (let round = 0; round < rounds; round += 1) {
      for (const stream of Object.values(documents.streams)) {
        const reader = usageReader(format);
        for (const event of broken(eventsOf(stream), random)) reader.push(event);
        for (const count of Object.values(reader.usage ?? {})) assert.ok(Number.isSafeInteger(count) && count >= 0);
      }
      for (const body of [...Object.values(documents.requests), ...Object.values(documents.answers)]) {
        const one = mutated(body, random);
        if (!isObject(one)) continue;
        const { inputTokens, maxOutputTokens, choices } = estimate(format, one);
        assert.ok(Number.isSafeInteger(inputTokens) && inputTokens > 0);
        assert.ok(maxOutputTokens === null || Number.isSafeInteger(maxOutputTokens));
        assert.ok(Number.isSafeInteger(choices) && choices > 0);
        const { usage } = usageOf(format, one);
        for (const count of Object.values(usage ?? {})) assert.ok(Number.isSafeInteger(count) && count >= 0);
      }
    }
  }
});

test('[R-formats-hostile] a body nested beyond reason is measured, and refused or passed', () => {
  const deep: unknown = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
  const schema: unknown = JSON.parse(`${'{"properties":{"a":'.repeat(2_000)}{}${'}}'.repeat(2_000)}`);
  const bodies: Readonly<Record<Format, JsonObject>> = {
    'openai-chat': {
      messages: [{ role: 'user', content: deep }],
      tools: [{ type: 'function', function: { name: 'f', parameters: schema } }],
    },
    'openai-responses': { input: [{ role: 'user', content: deep }] },
    anthropic: {
      max_tokens: 1,
      messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'f', input: { deep } }] }],
    },
    gemini: {
      contents: [{ role: 'user', parts: [{ functionResponse: { name: 'f', response: { deep } } }] }],
      tools: [{ functionDeclarations: [{ name: 'f', parameters: schema }] }],
    },
  };
  for (const [from, to] of pairs) {
    estimate(from, bodies[from]);
    try {
      translateRequest(from, to, bodies[from], 'm');
    } catch (error) {
      assert.ok(error instanceof HoldfastError, `${from} to ${to}: ${String(error)}`);
    }
  }
});

test('[R-formats-hostile] a stream without end does not fill memory with its calls', () => {
  const translator = streamTranslator('openai-chat', 'gemini', 'm');
  const piece = 'x'.repeat(1_048_576);
  const call = (delta: JsonObject): SseEvent => ({
    event: null,
    data: JSON.stringify({ choices: [{ index: 0, delta: { tool_calls: [delta] } }] }),
  });
  translator.push(call({ index: 0, id: 'a', function: { name: 'f', arguments: '' } }));
  assert.throws(
    () => {
      for (let i = 0; i < 64; i += 1) translator.push(call({ index: 0, function: { arguments: piece } }));
    },
    (error) => error instanceof HoldfastError && error.code === 'gateway.stream_broken',
  );
});
