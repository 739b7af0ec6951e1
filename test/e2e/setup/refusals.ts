import assert from 'node:assert/strict';
import { HoldfastError } from '@holdfast/sdk';

/** Makes the calls one after the other; each must fail with one of the codes. */
export const assertRefused = async (
  codes: readonly string[],
  calls: readonly (() => Promise<unknown>)[],
): Promise<void> => {
  for (const call of calls) {
    await assert.rejects(
      call,
      (error) => {
        assert.ok(error instanceof HoldfastError, `${call}: ${error}`);
        assert.ok(codes.includes(error.code), `${call}: ${error.code} (${error.message}) is not ${codes.join(' or ')}`);
        return true;
      },
      `${call} was not refused`,
    );
  }
};
