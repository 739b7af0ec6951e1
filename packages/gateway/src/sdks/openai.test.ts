import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { isObject } from '../formats/json-value.ts';
import {
  bodyOf,
  busyModel,
  failsMidway,
  formatOf,
  openStage,
  refuses,
  routeNames,
  type Stage,
  says,
  usage,
} from './scripted-models.suite.ts';

let stage: Stage;
let client: OpenAI;

before(async () => {
  stage = await openStage();
  client = new OpenAI({ baseURL: `${stage.origin}/v1`, apiKey: 'hf_key', maxRetries: 0 });
});
after(() => stage.close());

const messages = [
  { role: 'system' as const, content: 'Be brief.' },
  { role: 'user' as const, content: 'Say hello.' },
];

const twoCalls = [
  { id: 'toolu_1', name: 'weather', input: { city: 'Paris' } },
  { id: 'toolu_2', name: 'weather', input: { city: 'Oslo' } },
];

const natively: Readonly<Record<(typeof routeNames)[number], string>> = {
  openai: 'openai-chat',
  compatible: 'openai-chat',
  anthropic: 'anthropic',
  gemini: 'gemini',
};

for (const model of routeNames) {
  test(`[R-sdks-unchanged] openai: chat by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
    const completion = await client.chat.completions.create({ model, messages, max_completion_tokens: 50 });
    assert.equal(completion.choices[0]?.message.content, 'Hello, world: 🇨🇭');
    assert.equal(completion.choices[0]?.finish_reason, 'stop');
    assert.equal(completion.object, 'chat.completion');
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = completion.usage ?? {};
    assert.deepEqual(
      [prompt_tokens, completion_tokens, prompt_tokens_details?.cached_tokens],
      [usage.input + usage.cached, usage.output, usage.cached],
    );
    assert.equal(formatOf(stage.provider.received[0]?.url ?? ''), natively[model]);
  });

  test(`[R-sdks-unchanged] openai: a stream of chat by ${model}`, async () => {
    for (const wanted of [true, false]) {
      stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
      const options = wanted ? { stream_options: { include_usage: true } } : {};
      const stream = await client.chat.completions.create({ model, messages, stream: true, ...options });
      let [text, finish, tokens] = ['', '', 0];
      for await (const chunk of stream) {
        if (!wanted) assert.equal(chunk.choices.length, 1, 'no chunk but of the answer');
        text += chunk.choices[0]?.delta.content ?? '';
        finish = chunk.choices[0]?.finish_reason ?? finish;
        tokens = chunk.usage?.total_tokens ?? tokens;
      }
      assert.deepEqual([text, finish], ['Hello, world: 🇨🇭', 'stop']);
      assert.equal(tokens, wanted ? usage.input + usage.cached + usage.output : 0);
    }
  });

  test(`[R-sdks-unchanged] openai: a loop of parallel tools by ${model}`, async () => {
    for (const stream of [false, true]) {
      stage.provider.will(says({ text: 'I look.', calls: twoCalls }), says({ text: '21 and -3 degrees.' }));
      const asked: string[] = [];
      const params = {
        model,
        messages,
        tools: [
          {
            type: 'function' as const,
            function: {
              name: 'weather',
              description: 'Weather of a city',
              parameters: { type: 'object', properties: { city: { type: 'string' } } },
              parse: JSON.parse,
              function: ({ city }: { city: string }) => {
                asked.push(city);
                return `${city}: fine`;
              },
            },
          },
        ],
      };
      const runner = stream
        ? client.chat.completions.runTools({ ...params, stream: true })
        : client.chat.completions.runTools({ ...params, stream: false });
      assert.equal(await runner.finalContent(), '21 and -3 degrees.');
      assert.deepEqual(asked, ['Paris', 'Oslo']);
      // The provider got both results, in its own words.
      const [, second] = stage.provider.received;
      const sent = JSON.stringify(bodyOf(second));
      assert.ok(sent.includes('Paris: fine') && sent.includes('Oslo: fine'), sent);
    }
  });

  test(`[R-sdks-unchanged] openai: structured output by ${model}`, async () => {
    stage.provider.will(says({ text: '{"name":"red","hex":"#f00"}' }));
    const colour = z.object({ name: z.string(), hex: z.string() });
    const completion = await client.chat.completions.parse({
      model,
      messages,
      response_format: zodResponseFormat(colour, 'colour'),
    });
    assert.deepEqual(completion.choices[0]?.message.parsed, { name: 'red', hex: '#f00' });
    const sent = bodyOf(stage.provider.received[0]);
    const places = [sent.response_format, sent.output_config, sent.generationConfig];
    assert.match(JSON.stringify(places.find(isObject)), /"hex"/);
  });

  test(`[R-sdks-unchanged] openai: responses by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello.' }));
    const response = await client.responses.create({ model, input: 'Say hello.', instructions: 'Be brief.' });
    assert.equal(response.output_text, 'Hello.');
    assert.equal(response.status, 'completed');
    assert.equal(response.usage?.total_tokens, usage.input + usage.cached + usage.output);
  });

  test(`[R-sdks-unchanged] openai: a stream of responses, with tools and their thoughts, by ${model}`, async () => {
    const thinking = { text: 'Two cities.', signature: 'c2lnbmF0dXJl' };
    stage.provider.will(says({ thinking, calls: twoCalls }), says({ text: 'Fine.' }));
    const tools = [
      { type: 'function' as const, name: 'weather', parameters: { type: 'object', properties: {} }, strict: false },
    ];
    const reasoning = { effort: 'medium', summary: 'auto' } as const;
    const first = client.responses.stream({ model, input: 'Weather?', tools, reasoning });
    const seen = new Set<string>();
    for await (const event of first) seen.add(event.type);
    for (const type of [
      'response.created',
      'response.function_call_arguments.delta',
      'response.output_item.done',
      'response.completed',
    ])
      assert.ok(seen.has(type), `${type} in ${[...seen].join()}`);
    const { output } = await first.finalResponse();
    const calls = output.filter((item) => item.type === 'function_call');
    assert.deepEqual(
      calls.map((call) => JSON.parse(call.arguments)),
      twoCalls.map((call) => call.input),
    );
    const results = calls.map(({ call_id }) => ({ type: 'function_call_output' as const, call_id, output: 'fine' }));
    const said = output.filter((item) => item.type === 'reasoning' || item.type === 'function_call');
    const history = [{ role: 'user' as const, content: 'Weather?' }, ...said, ...results];
    const second = await client.responses.create({ model, input: history, tools, reasoning, store: false });
    assert.equal(second.output_text, 'Fine.');
    // What the provider signed it gets back as it was; chat completions have no thoughts.
    const sent = JSON.stringify(bodyOf(stage.provider.received[1]));
    assert.equal(sent.includes(`"${thinking.signature}"`), model !== 'compatible', sent);
  });

  test(`[R-sdks-unchanged] openai: structured responses by ${model}`, async () => {
    stage.provider.will(says({ text: '{"name":"red"}' }));
    const text = { format: zodTextFormat(z.object({ name: z.string() }), 'colour') };
    const response = await client.responses.parse({ model, input: 'A colour.', text });
    assert.deepEqual(response.output_parsed, { name: 'red' });
  });

  test(`[R-sdks-unchanged] openai: refusals and failures by ${model}`, async () => {
    stage.provider.will(refuses(400, 'The messages are too long.'));
    const create = () => client.chat.completions.create({ model, messages });
    await assert.rejects(create, (error) => error instanceof OpenAI.BadRequestError && /too long/.test(error.message));
    stage.provider.will(refuses(500, 'Oops.'));
    await assert.rejects(create, (error) => error instanceof OpenAI.InternalServerError && error.status === 502);
    stage.provider.will(refuses(429, 'Slow down.', { 'retry-after': '7' }));
    const limited = () => client.chat.completions.create({ model: `${model}/${busyModel}`, messages });
    await assert.rejects(limited, (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.code, 'gateway.rate_limited');
      assert.equal(error.headers?.get('retry-after'), '7');
      return true;
    });
    stage.provider.will(failsMidway('Hello, world, how are you today?'));
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let text = '';
    await assert.rejects(
      async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      },
      (error) => error instanceof OpenAI.APIError && /overloaded/.test(error.message),
    );
    assert.ok(text.startsWith('Hello'), text);
    stage.provider.will(failsMidway('Hello, world, how are you today?'));
    const events = await client.responses.create({ model, input: 'Hi', stream: true });
    await assert.rejects(
      async () => {
        for await (const event of events) assert.notEqual(event.type, 'response.completed');
      },
      (error) => error instanceof OpenAI.APIError && /overloaded/.test(error.message),
    );
  });
}

test('[R-sdks-unchanged] openai: a model that is none, and a body that is none', async () => {
  await assert.rejects(
    () => client.chat.completions.create({ model: 'unheard-of', messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === 'gateway.model_not_found',
  );
  await assert.rejects(
    () => client.responses.create({ model: 'anthropic', previous_response_id: 'resp_1', input: 'Go on.' }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === 'previous_response_id',
  );
});

test('[R-sdks-unchanged] openai: embeddings', async () => {
  for (const model of ['embed-openai', 'embed-gemini']) {
    stage.provider.will((received, response) => {
      assert.match(received.url, /\/embeddings$/);
      // The client asks for base64 and decodes it.
      const embedding = Buffer.from(new Float32Array([0.5, -1, 2]).buffer).toString('base64');
      response.writeHead(200, { 'content-type': 'application/json' });
      const data = [{ object: 'embedding', index: 0, embedding }];
      const used = { prompt_tokens: 4, total_tokens: 4 };
      response.end(JSON.stringify({ object: 'list', data, model: 'text-embedding-3-small', usage: used }));
    });
    const { data, usage: used } = await client.embeddings.create({ model, input: 'Hello.' });
    assert.deepEqual(data[0]?.embedding, [0.5, -1, 2]);
    assert.equal(used.total_tokens, 4);
  }
});
