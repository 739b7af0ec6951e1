import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiError, type CallableTool, type FunctionCall, GoogleGenAI, type Part, Type } from '@google/genai';
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
let client: GoogleGenAI;

before(async () => {
  stage = await openStage();
  client = new GoogleGenAI({ apiKey: 'hf_key', httpOptions: { baseUrl: stage.origin } });
});
after(() => stage.close());

const twoCalls = [
  { id: 'call_1', name: 'weather', input: { city: 'Paris' } },
  { id: 'call_2', name: 'weather', input: { city: 'Oslo' } },
];

const codeIn = (error: unknown): unknown => {
  assert.ok(error instanceof ApiError, String(error));
  const body: unknown = JSON.parse(error.message);
  const inner = isObject(body) ? body.error : null;
  const details = isObject(inner) ? inner.details : null;
  const [first]: unknown[] = Array.isArray(details) ? details : [];
  return isObject(first) ? first.reason : null;
};

for (const model of routeNames) {
  test(`[R-sdks-unchanged] genai: content by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
    const config = { systemInstruction: 'Be brief.', maxOutputTokens: 50, temperature: 0.5 };
    const response = await client.models.generateContent({ model, contents: 'Say hello.', config });
    assert.equal(response.text, 'Hello, world: 🇨🇭');
    assert.equal(response.candidates?.[0]?.finishReason, 'STOP');
    const { promptTokenCount, candidatesTokenCount, cachedContentTokenCount } = response.usageMetadata ?? {};
    assert.deepEqual(
      [promptTokenCount, candidatesTokenCount, cachedContentTokenCount],
      [usage.input + usage.cached, usage.output, usage.cached],
    );
  });

  test(`[R-sdks-unchanged] genai: a stream of content by ${model}`, async () => {
    stage.provider.will(says({ text: 'Hello, world: 🇨🇭' }));
    let [text, tokens, pieces] = ['', 0, 0];
    for await (const chunk of await client.models.generateContentStream({ model, contents: 'Say hello.' })) {
      text += chunk.text ?? '';
      tokens = chunk.usageMetadata?.totalTokenCount ?? tokens;
      pieces += 1;
    }
    assert.deepEqual([text, tokens], ['Hello, world: 🇨🇭', usage.input + usage.cached + usage.output]);
    assert.ok(pieces > 1);
  });

  test(`[R-sdks-unchanged] genai: a loop of parallel tools by ${model}`, async () => {
    const cities: unknown[] = [];
    const weather: CallableTool = {
      tool: async () => ({
        functionDeclarations: [
          { name: 'weather', parameters: { type: Type.OBJECT, properties: { city: { type: Type.STRING } } } },
        ],
      }),
      callTool: async (calls: FunctionCall[]): Promise<Part[]> =>
        calls.map(({ id, name, args }) => {
          cities.push(args?.city);
          const response = { output: `${String(args?.city)}: fine` };
          return { functionResponse: { ...(id === undefined ? {} : { id }), name: name ?? '', response } };
        }),
    };
    stage.provider.will(says({ calls: twoCalls }), says({ text: '21 and -3 degrees.' }));
    const response = await client.models.generateContent({ model, contents: 'Weather?', config: { tools: [weather] } });
    assert.equal(response.text, '21 and -3 degrees.');
    assert.deepEqual(cities, ['Paris', 'Oslo']);
    const sent = JSON.stringify(bodyOf(stage.provider.received[1]));
    assert.ok(sent.includes('Paris: fine') && sent.includes('Oslo: fine'), sent);
  });

  test(`[R-sdks-unchanged] genai: a chat that keeps thoughts and their signatures by ${model}`, async () => {
    const thinking = { text: 'Easy.', signature: 'c2lnbmF0dXJl' };
    for (const stream of [false, true]) {
      stage.provider.will(says({ thinking, text: 'Hello.', calls: twoCalls }), says({ text: 'Fine.' }));
      const chat = client.chats.create({ model, config: { thinkingConfig: { includeThoughts: true } } });
      const calls: FunctionCall[] = [];
      if (stream)
        for await (const chunk of await chat.sendMessageStream({ message: 'Hi' }))
          calls.push(...(chunk.functionCalls ?? []));
      else calls.push(...((await chat.sendMessage({ message: 'Hi' })).functionCalls ?? []));
      assert.deepEqual(
        calls.map((call) => call.args),
        twoCalls.map((call) => call.input),
      );
      const message = calls.map(({ id, name }) => ({
        functionResponse: { ...(id === undefined ? {} : { id }), name: name ?? '', response: { output: 'fine' } },
      }));
      assert.equal((await chat.sendMessage({ message })).text, 'Fine.');
      const sent = JSON.stringify(bodyOf(stage.provider.received[1]));
      const signed = model === 'anthropic' || model === 'gemini';
      assert.equal(sent.includes(`"${thinking.signature}"`), signed, sent);
    }
  });

  test(`[R-sdks-unchanged] genai: structured output by ${model}`, async () => {
    stage.provider.will(says({ text: '{"name":"red","hex":"#f00"}' }));
    const properties = { name: { type: Type.STRING }, hex: { type: Type.STRING } };
    const config = { responseMimeType: 'application/json', responseSchema: { type: Type.OBJECT, properties } };
    const response = await client.models.generateContent({ model, contents: 'A colour.', config });
    assert.deepEqual(JSON.parse(response.text ?? ''), { name: 'red', hex: '#f00' });
    const sent = bodyOf(stage.provider.received[0]);
    const places = [sent.response_format, sent.output_config, sent.generationConfig];
    assert.match(JSON.stringify(places.find(isObject)), /"hex"/);
  });

  test(`[R-sdks-unchanged] genai: refusals and failures by ${model}`, async () => {
    const create = () => client.models.generateContent({ model, contents: 'Hi' });
    stage.provider.will(refuses(400, 'The contents are too long.'));
    await assert.rejects(
      create,
      (error) => error instanceof ApiError && error.status === 400 && /too long/.test(error.message),
    );
    stage.provider.will(refuses(500, 'Oops.'));
    await assert.rejects(create, (error) => codeIn(error) === 'gateway.provider_failed');
    stage.provider.will(failsMidway('Hello, world, how are you today?'));
    let text = '';
    await assert.rejects(
      async () => {
        for await (const chunk of await client.models.generateContentStream({ model, contents: 'Hi' }))
          text += chunk.text ?? '';
      },
      (error) => error instanceof ApiError && error.status >= 500 && /overloaded/.test(error.message),
    );
    assert.ok(text.startsWith('Hello'), text);
    stage.provider.will(refuses(429, 'Slow down.', { 'retry-after': '7' }));
    const limited = () => client.models.generateContent({ model: `${model}%2F${busyModel}`, contents: 'Hi' });
    await assert.rejects(limited, (error) => codeIn(error) === 'gateway.rate_limited');
  });
}

test('[R-sdks-unchanged] genai: embeddings', async () => {
  stage.provider.will((received, response) => {
    assert.match(received.url, /\/models\/gemini-embedding-001:batchEmbedContents$/);
    assert.match(String(received.body), /"model":"models\/gemini-embedding-001"/);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ embeddings: [{ values: [0.5, -1] }, { values: [1, 2] }] }));
  });
  const { embeddings } = await client.models.embedContent({ model: 'embed-gemini', contents: ['a', 'b'] });
  assert.deepEqual(
    embeddings?.map(({ values }) => values),
    [
      [0.5, -1],
      [1, 2],
    ],
  );
});

test('[R-sdks-unchanged] genai: a model that is none', async () => {
  await assert.rejects(
    () => client.models.generateContent({ model: 'unheard-of', contents: 'Hi' }),
    (error) => error instanceof ApiError && error.status === 404 && codeIn(error) === 'gateway.model_not_found',
  );
});
