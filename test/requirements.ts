/**
 * What Holdfast promises. A test that proves a promise, or a part of it, has its id in brackets in its name; a promise
 * that no test cites, and an id that is not here, fail `test/tidy.test.ts`.
 */
export const requirements = {
  'R-layout-direction':
    'Packages import each other only in the direction of the layout; layers never import each other.',
  'R-one-configuration': 'Each program reads the environment in one module.',
  'R-dependencies-known': 'Each npm dependency is pinned exactly and has a reason and an allowed licence.',
  'R-docs-true': 'Every command that the documentation shows exists, with the options it shows.',
  'R-errors-one-catalogue': 'An error has the same code in the server, on the wire and in the client.',
  'R-sdk-download-contained': 'A download from a sandbox writes nothing outside the folder it was asked for.',
  'R-launcher-resumes': 'A setup that was interrupted is done again, never trusted.',
  'R-isolation': 'A key reaches nothing of another workspace: for it, that does not exist.',
  'R-viewer-reads-only': 'A viewer changes nothing; a developer changes no keys.',
  'R-closed-by-default': 'Without a valid key nothing of a workspace is shown or done.',
  'R-revoked-at-once': 'A revoked key stops working at once, in every process.',
  'R-virtual-keys': 'A key does only what it is bound to: its user, team, agent, run, models and end.',
  'R-kill-switch': 'A kill switch ends calls under way and refuses new ones, in every process, within a second.',
  'R-run-caps':
    'A run never gets beyond its caps on dollars, tokens, calls and steps, however many calls it makes at once.',
  'R-runaway': 'A run that repeats itself is found, told of, and refused where that is configured.',
  'R-cache-scoped':
    'An answer is cached for one workspace, and only for a request that is equal, or near enough where that is asked for.',
  'R-idempotency':
    'Requests with one idempotency key are done once; the finished answer is replayed, a running one says so.',
  'R-events': 'What happens in the gateway is kept in order, once, and whoever follows is told.',
  'R-webhooks': 'A webhook is signed, and repeated until it is taken or has failed for good.',
  'R-ssrf': 'Nobody makes the server call an address that is not public, unless its configuration allows that.',
  'R-metrics': 'The gateway counts attempts, tokens, cost and times for Prometheus, with a bounded number of series.',
  'R-secrets-stay-secret': 'Keys and passwords are in no log, list or database column.',
  'R-audit-append-only': 'The audit log cannot be changed.',
  'R-migrations-forward':
    'Migrations run once, in order, one process at a time, and never on a schema that is not theirs.',
  'R-database-never-root': 'PostgreSQL never runs as root.',
  'R-database-shared': 'Processes on one data folder share one PostgreSQL; the last to leave stops it.',
  'R-database-recovers': 'PostgreSQL and the server come back after kill -9 of either, with all that was committed.',
  'R-input-bounded': 'Malformed and oversized input gets a clear error, and never an unexpected one.',
  'R-problem-details': 'Every error of the API is a problem document with a code of the catalogue.',
  'R-startup-explains': 'A server that cannot start says why in one error with a code, and leaves nothing running.',
  'R-one-server-per-home': 'A data folder has one server at a time, and a lock that cannot go stale.',
  'R-backpressure': 'A client that does not read holds the source back instead of filling memory.',
  'R-exec-ends':
    'What a command started ends with its time-out, its stream or its connection, wherever in the tree it is.',
  'R-guest-bounded': 'Whatever a guest does or prints, its agent, its neighbours and the server stay well.',
  'R-idle-standby':
    'A sandbox stands by when nothing has held it awake for its idle time-out, never before, and the API says why it is awake.',
  'R-resume-intact':
    'Memory, processes and files are after a standby, or a restart of the server, what they were before.',
  'R-restore-contract':
    'A guest that comes back has the right clock, fresh random numbers and, when it is a fork, an identity of its own.',
  'R-fork-isolated': 'A fork has all that its source had, and neither ever sees what the other writes later.',
  'R-standby-checksums':
    'A damaged standby is found by its checksums before it runs, reported, and the sandbox boots from its disk.',
  'R-quota': 'A workspace has no more sandboxes than its quota, also when many are asked for at once.',
  'R-standby-durable':
    'A sandbox whose creation was acknowledged is there after any crash, with the files and the standby that were acknowledged.',
  'R-never-half': 'What was not acknowledged happened wholly or not at all: a sandbox, a fork, a deletion, a file.',
  'R-no-orphans': 'After a crash no process, folder, file or disk block is left that belongs to no sandbox.',
  'R-recovers-by-itself':
    'A server that starts after any crash becomes ready in a consistent state without help, and one that lives through the end of a machine or of PostgreSQL goes on.',
  'R-budget-never-overspent':
    'A hard budget admits exactly the calls it has room for, at every level, from however many processes at once.',
  'R-spending-durable':
    'After kill -9 of the gateway or of PostgreSQL at any point, ledger, holds and budgets agree: nothing is free, nothing is charged twice.',
  'R-spending-fails-closed':
    'No call is made that could not be reserved: not without the database, not without a price.',
  'R-limits-let-in': 'A limit per minute admits the first call of each minute, and says when to come back.',
  'R-prices-generated': 'The table of prices is what its source says, and an override of a workspace is its own.',
  'R-formats-golden': 'Each wire format of models becomes each other one exactly as the golden files have it.',
  'R-formats-not-carried': 'What a translation cannot carry is named, never dropped silently.',
  'R-formats-round-trip': 'A translation there and back keeps everything that both formats can say.',
  'R-formats-hostile':
    'Whatever a caller or a provider sends, a translation ends with a document or with an error of the catalogue.',
  'R-usage-read':
    'The tokens of every format are read with all their kinds apart, from whole answers and from streams.',
  'R-estimate-bound': 'What a call is reserved for is never less than what its input costs.',
  'R-error-shape': "Errors have the shape that the caller's own SDK expects, with the code of the catalogue in it.",
  'R-sdks-unchanged':
    'The ordinary clients of OpenAI, Anthropic and Gemini and the AI SDK work unchanged, whichever provider answers.',
  'R-gateway-breaker': 'A target that fails in a row is left alone for a while, and then probed by one call.',
  'R-gateway-keys-sealed':
    'Stored keys of providers open with their master key and in their own row only, and are never given out again.',
  'R-gateway-sticky': 'A conversation stays with its target while that is well.',
  'R-gateway-first-byte': 'Another target takes over before the first content of an answer, and never after it.',
  'R-gateway-faithful':
    'Between ends of one format a request and its answer pass byte for byte but for the model, the key and the usage flag.',
  'R-gateway-native-errors': 'Every error has the form that the clients of its door expect.',
  'R-gateway-reload': 'A change of providers and routes reaches the next call, and no stream under way notices.',
  'R-gateway-usage-after-leave': 'What a caller that left had used is drained or estimated, and never free.',
} as const satisfies Record<`R-${string}`, string>;
