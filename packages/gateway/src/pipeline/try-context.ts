import type { ProviderAnswer } from '../providers/provider.ts';
import type { Target } from '../routing/target.ts';
import type { Attempt } from './attempt.ts';
import type { CallCost } from './call-cost.ts';
import type { CallInput } from './call-input.ts';
import type { AttemptOutcome, CallJournal } from './call-journal.ts';
import type { CallServices } from './call-services.ts';
import type { ReadSoFar } from './outcomes.ts';

/** What the ways to pass an answer on share: one try at one target, and what was read of it. */
export interface TryContext {
  readonly services: CallServices;
  readonly input: CallInput;
  readonly cost: CallCost;
  readonly journal: CallJournal;
  readonly target: Target;
  readonly attempt: Attempt;
  /** What was read so far; kept up to date, so that a failure can be billed. */
  read: ReadSoFar;
  /** The first content is here, at this time of `Clock.monotonic`: nobody else is tried any more. */
  begun(firstContentAt: number): void;
  /** The attempt is over and goes to the journal; before the caller can see the end. */
  ended(outcome: AttemptOutcome): void;
  /** The headers of an answer to the caller. */
  headers(head: ProviderAnswer, dropped: readonly string[]): Record<string, string>;
}
