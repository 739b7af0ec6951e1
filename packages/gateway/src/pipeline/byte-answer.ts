import type { WireFormat } from '../doors/endpoint.ts';
import type { ProviderAnswer } from '../providers/provider.ts';
import { usedOther } from './answer-facts.ts';
import { outcomeOfAnswer, outcomeOfFailure } from './outcomes.ts';
import type { TryContext } from './try-context.ts';

/**
 * Passes speech and other bytes on as they come. True when they came to their end; rejects before the first of them with
 * an `AttemptFailure`, and never later.
 */
export const passBytes = async (context: TryContext, format: WireFormat, head: ProviderAnswer): Promise<boolean> => {
  const { input, attempt, services, cost } = context;
  const { sink } = input;
  let chunk = await attempt.read();
  const firstContentAt = services.clock.monotonic();
  const other = usedOther(format, input.request.json, null);
  context.read = { ...context.read, status: head.status, firstContentAt, other };
  context.begun(firstContentAt);
  const type = head.headers['content-type'] ?? 'application/octet-stream';
  sink.begin(head.status, { ...context.headers(head, []), 'content-type': type }, false);
  try {
    for (; chunk !== null; chunk = await attempt.read()) {
      const room = sink.write(chunk);
      if (room !== null) await room;
    }
    context.ended(outcomeOfAnswer({ ...context.read, status: head.status }, null, cost));
    sink.end();
    attempt.ended();
    return true;
  } catch (thrown) {
    const failure = attempt.failureOf(thrown);
    context.ended(outcomeOfFailure(failure, context.read, cost));
    attempt.abort(failure);
    sink.breakOff();
    return false;
  }
};
