import { debugWanted } from './configuration.ts';
import { errorOf, exitCodeOf, renderFailure } from './failure.ts';
import { runProgram } from './program.ts';

// A reader that went away, such as `head`, ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const args = process.argv.slice(2);
const ownWords = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;

try {
  await runProgram(args);
} catch (thrown) {
  const error = errorOf(thrown);
  const debug = debugWanted();
  process.stderr.write(renderFailure(error, { json: ownWords.includes('--json'), debug }));
  process.exitCode = exitCodeOf(error);
}
