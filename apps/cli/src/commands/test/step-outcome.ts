export interface Failure {
  /** Where the test is, `file:line`; null when the step itself failed. */
  readonly at: string | null;
  readonly name: string;
  readonly message: string;
}

export interface StepOutcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly Failure[];
  /** Lines worth showing even when all passed, such as the seed of a random test. */
  readonly remarks: readonly string[];
}

/** The outcome of a check that either holds or does not. */
export const singleOutcome = (name: string, problem: string | null): StepOutcome => ({
  passed: problem === null ? 1 : 0,
  failed: problem === null ? 0 : 1,
  skipped: 0,
  failures: problem === null ? [] : [{ at: null, name, message: problem }],
  remarks: [],
});
