const tests = [];

export const test = (name, run) => tests.push({ name, run });

/** Where in the tests an error was thrown. */
const placeOf = (error) => /test\/[\w.]+\.js:\d+/.exec(error.stack ?? '')?.[0] ?? 'unknown place';

/** Runs all tests one after the other, prints a line for each, and sets the exit code. */
export async function runAll() {
  const failures = [];
  for (const { name, run } of tests) {
    try {
      await run();
      console.log(`ok   ${name}`);
    } catch (error) {
      failures.push({ name, error });
      console.log(`FAIL ${name}`);
    }
  }
  for (const { name, error } of failures) console.log(`\n${name} (${placeOf(error)})\n${error.message}`);
  console.log(`\n# pass ${tests.length - failures.length}\n# fail ${failures.length}`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
