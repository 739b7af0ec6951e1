import { readConfig } from './config.ts';
import { asHoldfastError } from './http/failure.ts';
import { standardErrorLog } from './logging.ts';
import { type RunningServer, startServer } from './server.ts';

/** PostgreSQL may have much to write on a busy disk; beyond this it is left to recover by itself at the next start. */
const forceExitMs = 60_000;

/** The first signal stops in order, also while the server is still starting; a second one ends it at once. */
const stopOnSignals = (starting: Promise<RunningServer>): void => {
  let signals = 0;
  const onSignal = (): void => {
    signals += 1;
    if (signals > 1) process.exit(130);
    setTimeout(() => process.exit(1), forceExitMs).unref();
    starting
      .then((server) => server.stop())
      .then(
        () => process.exit(0),
        () => process.exit(1),
      );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
};

const report = (thrown: unknown): void => {
  const error = asHoldfastError(thrown);
  standardErrorLog().error(error.message, {
    error: error.code,
    help: error.kind.help,
    details: error.details,
    ...(error.code === 'internal.unexpected' ? { cause: error.cause } : {}),
  });
};

try {
  const starting = startServer(readConfig(process.env), undefined, () => readConfig(process.env));
  stopOnSignals(starting);
  await starting;
} catch (error) {
  report(error);
  process.exit(1);
}
