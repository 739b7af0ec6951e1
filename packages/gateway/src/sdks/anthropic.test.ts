import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { isObject } from '../formats/json-value.ts';
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

let stage: Stage;
let client: Anthropic;

before(async () => {
  stage = await openStage();
  client = new Anthropic({ baseURL: stage.origin, apiKey: 'hf_key', maxRetries: 0 });
});
after(() => stage.close());

const asked = { max_tokens: 500, messages: [{ role: 'user' as const, content: 'Say hello.' }] };

const twoCalls = [
  { id: 'call_1', name: 'weather', input: { city: 'Paris' } },
  { id: 'call_2', name: 'weather', input: { city: 'Oslo' } },
];

for (const model of routeNames) {
  test(`[R-sdks-unchanged] anthropic: messages by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
    const message = await client.messages.create({ model, ...asked, system: 'Be brief.' });
    assert.deepEqual(
      message.content.map((block) => (block.type === 'text' ? block.text : block.type)),
      ['Hello, world: 🇨🇭'],
    );
    assert.deepEqual([message.type, message.role, message.stop_reason], ['message', 'assistant', 'end_turn']);
    const { input_tokens, output_tokens, cache_read_input_tokens } = message.usage;
    assert.deepEqual([input_tokens, output_tokens, cache_read_input_tokens], [usage.input, usage.output, usage.cached]);
  });

  test(`[R-sdks-unchanged] anthropic: a stream of messages by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
    const stream = client.messages.stream({ model, ...asked });
    let text = '';
    stream.on('text', (delta) => {
      text += delta;
    });
    const message = await stream.finalMessage();
    assert.equal(text, 'Hello, world: 🇨🇭');
    assert.equal(await stream.finalText(), text);
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.output_tokens, usage.output);
  });

  test(`[R-sdks-unchanged] anthropic: a loop of parallel tools, with thoughts, by ${model}`, async () => {
    for (const stream of [false, true]) {
      const thinking = { text: 'Two cities.', signature: 'c2lnbmF0dXJl' };
      stage.provider.will(says({ thinking, calls: twoCalls }), says({ text: '21 and -3 degrees.' }));
      const cities: string[] = [];
      const weather = betaZodTool({
        name: 'weather',
        description: 'Weather of a city',
        inputSchema: z.object({ city: z.string() }),
        run: ({ city }) => {
          cities.push(city);
          return `${city}: fine`;
        },
      });
      const params = { model, ...asked, max_tokens: 4_000, tools: [weather], max_iterations: 5 };
      const budget = { type: 'enabled' as const, budget_tokens: 1_024 };
      const runner = stream
        ? client.beta.messages.toolRunner({ ...params, thinking: budget, stream: true })
        : client.beta.messages.toolRunner({ ...params, thinking: budget, stream: false });
      const message = await runner.runUntilDone();
      assert.deepEqual(
        message.content.map((block) => (block.type === 'text' ? block.text : block.type)),
        ['21 and -3 degrees.'],
      );
      assert.deepEqual(cities, ['Paris', 'Oslo']);
      const sent = JSON.stringify(bodyOf(stage.provider.received[1]));
      assert.ok(sent.includes('Paris: fine') && sent.includes('Oslo: fine'), sent);
      // Thoughts go back to who signed them; Anthropic keeps them itself, and the answers of chat completions had none.
      if (model === 'anthropic') assert.match(sent, /"thread":\{"type":"continue"/);
      else assert.equal(sent.includes(`"${thinking.signature}"`), model === 'gemini', sent);
    }
  });

  test(`[R-sdks-unchanged] anthropic: structured output by ${model}`, async () => {
    stage.provider.will(says({ text: '{"name":"red","hex":"#f00"}' }));
    const format = zodOutputFormat(z.object({ name: z.string(), hex: z.string() }));
    const message = await client.messages.parse({ model, ...asked, output_config: { format } });
    assert.deepEqual(message.parsed_output, { name: 'red', hex: '#f00' });
    const sent = bodyOf(stage.provider.received[0]);
    const places = [sent.response_format, sent.output_config, sent.generationConfig];
    assert.match(JSON.stringify(places.find(isObject)), /"hex"/);
  });

  test(`[R-sdks-unchanged] anthropic: refusals and failures by ${model}`, async () => {
    const create = () => client.messages.create({ model, ...asked });
    stage.provider.will(refuses(400, 'The messages are too long.'));
    await assert.rejects(create, (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError);
      assert.equal(error.type, 'invalid_request_error');
      return /too long/.test(error.message);
    });
    stage.provider.will(refuses(500, 'Oops.'));
    await assert.rejects(create, (error) => {
      assert.ok(error instanceof Anthropic.InternalServerError);
      return error.errorCode === 'gateway.provider_failed';
    });
    stage.provider.will(failsMidway('Hello, world, how are you today?'));
    const stream = client.messages.stream({ model, ...asked });
    let text = '';
    stream.on('text', (delta) => {
      text += delta;
    });
    await assert.rejects(stream.finalMessage(), (error) => {
      assert.ok(error instanceof Anthropic.APIError);
      assert.ok(error.type === 'overloaded_error' || error.type === 'api_error', String(error.type));
      return /overloaded/.test(error.message);
    });
    assert.ok(text.startsWith('Hello'), text);
    stage.provider.will(refuses(429, 'Slow down.', { 'retry-after': '7' }));
    const limited = () => client.messages.create({ model: `${model}/${busyModel}`, ...asked });
    await assert.rejects(limited, (error) => {
      assert.ok(error instanceof Anthropic.RateLimitError);
      assert.equal(error.type, 'rate_limit_error');
      assert.equal(error.headers.get('retry-after'), '7');
      return error.errorCode === 'gateway.rate_limited';
    });
  });
}

test('[R-sdks-unchanged] anthropic: counting tokens, and models that are none', async () => {
  stage.provider.will((received, response) => {
    assert.match(received.url, /\/v1\/messages\/count_tokens$/);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":14}');
  });
  const { messages } = asked;
  assert.deepEqual(await client.messages.countTokens({ model: 'anthropic', messages }), { input_tokens: 14 });
  await assert.rejects(
    () => client.messages.create({ model: 'unheard-of', ...asked }),
    (error) => error instanceof Anthropic.NotFoundError && error.errorCode === 'gateway.model_not_found',
  );
});
