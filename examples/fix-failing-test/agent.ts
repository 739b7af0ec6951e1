import OpenAI from 'openai';
import type { OpenSpan, SpanReporter } from './spans.ts';
import { parseToolCall, type ToolCall, type Tools, toolDefinitions, useTool } from './tools.ts';

/** An agent on the ordinary `openai` package: Holdfast is its base URL, its sandbox and its trace. */
export interface AgentOptions {
  /** Holdfast's address with `/v1`, which speaks OpenAI's format. */
  readonly baseURL: string;
  readonly apiKey: string;
  readonly model: string;
  readonly task: string;
  readonly tools: Tools;
  readonly spans: SpanReporter;
  readonly parent: OpenSpan | null;
  /** Model calls before the agent gives up. */
  readonly maxSteps?: number;
  /** Sends the requests to the model. */
  readonly fetch?: typeof fetch;
  /** Called after each thing the agent did; the agent waits for it. */
  readonly onEvent?: (event: AgentEvent) => void | Promise<void>;
}

export type AgentEvent =
  | { readonly type: 'said'; readonly text: string }
  | { readonly type: 'using'; readonly call: ToolCall }
  | { readonly type: 'used'; readonly call: ToolCall; readonly output: string; readonly ms: number };

export interface AgentResult {
  /** What the model said last. */
  readonly answer: string;
  readonly steps: number;
  /** True when the gateway said of at least one reply that it was a recorded one. */
  readonly recorded: boolean;
}

const instructions = `You fix bugs in a small Git repository. Find out why its tests fail, correct the source (never the
tests), run the tests again, and end with a short summary. Use one short sentence before each group of tool calls.`;

/** Longest tool output that the model gets, in characters; the middle is left out. */
const maxOutput = 6_000;

const bounded = (output: string): string =>
  output.length <= maxOutput
    ? output
    : `${output.slice(0, maxOutput / 2)}\n[… ${output.length - maxOutput} characters left out …]\n${output.slice(-maxOutput / 2)}`;

type Message = OpenAI.ChatCompletionMessageParam;
type Call = OpenAI.ChatCompletionMessageToolCall;

const failed = (error: unknown): string => `The tool failed: ${error instanceof Error ? error.message : String(error)}`;

/** Uses one tool in a span of its own. A tool that fails is something the model should know, not the agent's end. */
const answerCall = async (call: Call, agent: OpenSpan, { tools, spans, onEvent }: AgentOptions): Promise<Message> => {
  const answer = (content: string): Message => ({ role: 'tool', tool_call_id: call.id, content });
  if (call.type !== 'function') return answer(failed('only function tools exist'));
  let asked: ToolCall;
  try {
    asked = parseToolCall(call.function.name, call.function.arguments);
  } catch (error) {
    return answer(failed(error));
  }
  await onEvent?.({ type: 'using', call: asked });
  const begun = performance.now();
  const place = { kind: 'tool', name: `${asked.name} ${asked.subject}`, parent: agent } as const;
  const output = await spans.within(place, (span) => useTool(tools, asked, span)).then(bounded, failed);
  await onEvent?.({ type: 'used', call: asked, output, ms: performance.now() - begun });
  return answer(output);
};

/** Lets the model work on the task until it stops asking for tools. Throws when `maxSteps` were not enough. */
export const runAgent = async (options: AgentOptions): Promise<AgentResult> => {
  const { baseURL, apiKey, model, task, spans, parent, maxSteps = 16, onEvent } = options;
  const send = options.fetch ?? fetch;
  let recorded = false;
  const openai = new OpenAI({
    baseURL,
    apiKey,
    fetch: async (...request) => {
      const response = await send(...request);
      recorded ||= response.headers.get('x-holdfast-recorded') === 'true';
      return response;
    },
  });
  const messages: Message[] = [
    { role: 'system', content: instructions },
    { role: 'user', content: task },
  ];
  return spans.within({ kind: 'agent', name: 'agent', parent }, async (agent) => {
    for (let step = 1; step <= maxSteps; step += 1) {
      const stream = openai.chat.completions.stream(
        { model, messages, tools: toolDefinitions, stream_options: { include_usage: true } },
        { headers: { traceparent: agent.traceparent } },
      );
      const message = (await stream.finalChatCompletion()).choices[0]?.message;
      if (message === undefined) throw new Error('The model answered nothing.');
      messages.push(message);
      const answer = message.content ?? '';
      if (answer !== '') await onEvent?.({ type: 'said', text: answer });
      const calls = message.tool_calls ?? [];
      if (calls.length === 0) return { answer, steps: step, recorded };
      for (const call of calls) messages.push(await answerCall(call, agent, options));
    }
    throw new Error(`The agent did not finish within ${maxSteps} steps.`);
  });
};
