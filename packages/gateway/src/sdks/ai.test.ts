import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, embedMany, generateText, isStepCount, type LanguageModel, Output, streamText, tool } from 'ai';
import { z } from 'zod';
import {
  bodyOf,
  busyModel,
  failsMidway,
  openStage,
  refuses,
  routeNames,
  type Stage,
  says,
  usage,
} from './scripted-models.suite.ts';

// Its warnings about models whose names it does not know say nothing here.
globalThis.AI_SDK_LOG_WARNINGS = false;

let stage: Stage;

before(async () => {
  stage = await openStage();
});
after(() => stage.close());

/** The three ways in which programs on the AI SDK reach the gateway. */
const ways: Readonly<Record<string, (model: string) => LanguageModel>> = {
  'openai chat': (model) => createOpenAI({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key' }).chat(model),
  'openai responses': (model) => createOpenAI({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key' }).responses(model),
  anthropic: (model) => createAnthropic({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key' })(model),
};

const calls = [
  { id: 'call_1', name: 'weather', input: { city: 'Paris' } },
  { id: 'call_2', name: 'weather', input: { city: 'Oslo' } },
];

const prompt = 'Say hello.';

/** By default this client refers to what OpenAI keeps of a conversation; no other provider has that. */
const providerOptions = { openai: { store: false } };

for (const [way, modelOf] of Object.entries(ways))
  for (const name of routeNames) {
    test(`[R-sdks-unchanged] ai by ${way}: text by ${name}`, async () => {
      stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
      const result = await generateText({ model: modelOf(name), instructions: 'Be brief.', prompt, maxRetries: 0 });
      assert.deepEqual([result.text, result.finishReason], ['Hello, world: 🇨🇭', 'stop']);
      const { inputTokens, outputTokens, inputTokenDetails } = result.usage;
      assert.deepEqual([inputTokens, outputTokens], [usage.input + usage.cached, usage.output]);
      assert.equal(inputTokenDetails.cacheReadTokens, usage.cached);
    });

    test(`[R-sdks-unchanged] ai by ${way}: a stream of text by ${name}`, async () => {
      stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
      const result = streamText({ model: modelOf(name), prompt, maxRetries: 0 });
      let text = '';
      for await (const delta of result.textStream) text += delta;
      assert.deepEqual([text, await result.finishReason], ['Hello, world: 🇨🇭', 'stop']);
      assert.equal((await result.usage).outputTokens, usage.output);
    });

    test(`[R-sdks-unchanged] ai by ${way}: a loop of parallel tools by ${name}`, async () => {
      for (const stream of [false, true]) {
        stage.provider.will(says({ text: 'I look.', calls }), says({ text: '21 and -3 degrees.' }));
        const cities: string[] = [];
        const weather = tool({
          description: 'Weather of a city',
          inputSchema: z.object({ city: z.string() }),
          execute: async ({ city }) => {
            cities.push(city);
            return `${city}: fine`;
          },
        });
        const options = {
          model: modelOf(name),
          prompt,
          tools: { weather },
          stopWhen: isStepCount(4),
          maxRetries: 0,
          providerOptions,
        };
        const text = stream ? await streamText(options).text : (await generateText(options)).text;
        assert.equal(text, '21 and -3 degrees.');
        assert.deepEqual(cities, ['Paris', 'Oslo']);
        const sent = JSON.stringify(bodyOf(stage.provider.received[1]));
        assert.ok(sent.includes('Paris: fine') && sent.includes('Oslo: fine'), sent);
      }
    });

    test(`[R-sdks-unchanged] ai by ${way}: an object by ${name}`, async () => {
      stage.provider.will(says({ text: '{"name":"red","hex":"#f00"}' }));
      const schema = z.object({ name: z.string(), hex: z.string() });
      const result = await generateText({
        model: modelOf(name),
        prompt,
        output: Output.object({ schema }),
        maxRetries: 0,
      });
      assert.deepEqual(result.output, { name: 'red', hex: '#f00' });
    });

    test(`[R-sdks-unchanged] ai by ${way}: refusals and failures by ${name}`, async () => {
      stage.provider.will(refuses(400, 'The prompt is too long.'));
      const refused = generateText({ model: modelOf(name), prompt, maxRetries: 0 });
      await assert.rejects(refused, (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.deepEqual([error.statusCode, error.isRetryable], [400, false]);
        return /too long/.test(error.message);
      });
      stage.provider.will(failsMidway('Hello, world, how are you today?'));
      const errors: unknown[] = [];
      const result = streamText({
        model: modelOf(name),
        prompt,
        maxRetries: 0,
        onError: ({ error }) => void errors.push(error),
      });
      let text = '';
      for await (const delta of result.textStream) text += delta;
      assert.ok(text.startsWith('Hello'), text);
      assert.equal(errors.length, 1);
      assert.match(JSON.stringify(errors[0]) + String(errors[0]), /overloaded/);
      stage.provider.will(refuses(429, 'Slow down.', { 'retry-after': '7' }));
      const limited = generateText({ model: modelOf(`${name}/${busyModel}`), prompt, maxRetries: 0 });
      await assert.rejects(limited, (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.deepEqual([error.statusCode, error.isRetryable], [429, true]);
        // Asked again within those seconds, the gateway says how many are left.
        const seconds = Number(error.responseHeaders?.['retry-after']);
        return seconds >= 1 && seconds <= 7;
      });
    });
  }

test('[R-sdks-unchanged] ai by anthropic: thoughts and their signatures go back to who signed them', async () => {
  for (const name of ['anthropic', 'gemini'] as const) {
    const thinking = { text: 'Two cities.', signature: 'c2lnbmF0dXJl' };
    stage.provider.will(says({ thinking, calls }), says({ text: 'Fine.' }));
    const model = createAnthropic({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key' })(name);
    const result = await generateText({
      model,
      prompt,
      tools: { weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async () => 'fine' }) },
      stopWhen: isStepCount(3),
      providerOptions: { anthropic: { thinking: { type: 'enabled', budgetTokens: 1_024 } } },
      maxRetries: 0,
    });
    assert.equal(result.steps[0]?.reasoningText, 'Two cities.');
    assert.match(JSON.stringify(bodyOf(stage.provider.received[1])), /"c2lnbmF0dXJl"/);
  }
});

test('[R-sdks-unchanged] ai by openai: embeddings', async () => {
  stage.provider.will((_, response) => {
    const data = [0, 1].map((index) => ({ object: 'embedding', index, embedding: [index, 0.5] }));
    response.writeHead(200, { 'content-type': 'application/json' });
    const used = { prompt_tokens: 4, total_tokens: 4 };
    response.end(JSON.stringify({ object: 'list', data, model: 'text-embedding-3-small', usage: used }));
  });
  const model = createOpenAI({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key' }).embeddingModel('embed-openai');
  const result = await embedMany({ model, values: ['a', 'b'], maxRetries: 0 });
  assert.deepEqual(result.embeddings, [
    [0, 0.5],
    [1, 0.5],
  ]);
  assert.equal(result.usage.tokens, 4);
});
