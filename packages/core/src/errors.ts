/**
 * The one catalogue of errors. A code is stable and public: callers match on it, the server renders it as
 * RFC 9457 problem details, the SDK rebuilds the same error from that.
 */
export interface ErrorKind {
  /** HTTP status it is rendered with. */
  readonly status: number;
  /** One sentence without specifics. */
  readonly title: string;
  /** What the caller can do about it. */
  readonly help: string;
  /** True when the same call may succeed later without a change. */
  readonly retryable: boolean;
}

const kind = (status: number, title: string, help: string, retryable = false): ErrorKind => ({
  status,
  title,
  help,
  retryable,
});

export const errorCatalogue = {
  'request.invalid': kind(400, 'The request is not valid.', 'Correct the fields named in the details.'),
  'request.too_large': kind(413, 'The request body is too large.', 'Send less, or use a streaming route.'),
  'request.aborted': kind(499, 'The client went away before the answer was complete.', 'Send the request again.', true),
  'request.upgrade_required': kind(426, 'This route is a WebSocket.', 'Connect with a WebSocket client.'),
  'request.not_found': kind(404, 'No such route.', 'See /api/openapi.json for all routes.'),
  'request.method_not_allowed': kind(405, 'This route does not take that method.', 'See /api/openapi.json.'),
  'auth.missing': kind(401, 'No API key was given.', 'Send "Authorization: Bearer hf_…" (holdfast key create).'),
  'auth.invalid': kind(401, 'This API key is not valid.', 'Check that the key is complete and was not revoked.'),
  'auth.forbidden': kind(403, 'This key may not do that.', 'Use a key with a higher role.'),
  'resource.not_found': kind(404, 'No such resource.', 'Check the id; it may belong to another workspace.'),
  'resource.conflict': kind(
    409,
    'The resource is in a state that does not allow this.',
    'Read its state and try again.',
  ),
  'quota.exceeded': kind(429, 'A quota of the workspace is used up.', 'Remove something or raise the quota.'),
  'config.invalid': kind(500, 'The configuration is not valid.', 'Correct the file or variable named in the details.'),
  'home.unusable': kind(500, 'The data folder cannot be used.', 'See the details; choose another with HOLDFAST_HOME.'),
  'home.in_use': kind(500, 'Another server uses this data folder.', 'Stop it, or choose another HOLDFAST_HOME.'),
  'port.in_use': kind(500, 'The port is already in use.', 'Stop what listens there, or set HOLDFAST_PORT.'),
  'database.unreachable': kind(
    503,
    'PostgreSQL cannot be reached.',
    'Check DATABASE_URL or the log of the embedded server.',
    true,
  ),
  'database.start_failed': kind(
    500,
    'The embedded PostgreSQL did not start.',
    'See the details and the log they name.',
  ),
  'database.migration_failed': kind(
    500,
    'A migration of the database failed.',
    'Nothing was changed. See the details.',
  ),
  'database.migration_changed': kind(
    500,
    'A migration that was applied to this database has changed since.',
    'Use the version of Holdfast that this database belongs to.',
  ),
  'database.schema_newer': kind(
    500,
    'The database belongs to a newer version of Holdfast.',
    'Upgrade Holdfast, or use another database.',
  ),
  'preview.failed': kind(502, 'The program in the sandbox did not answer in HTTP.', 'Look at its output.', true),
  'server.stopping': kind(503, 'The server is shutting down.', 'Send the request again when it is up.', true),
  'server.unreachable': kind(503, 'The Holdfast server cannot be reached.', 'Start it with: ./holdfast up', true),
  'server.answer_invalid': kind(
    502,
    'The server answered something that this client cannot read.',
    'Bring server and client to the same version, and check that the URL is that of a Holdfast server.',
  ),
  'local.path_invalid': kind(400, 'A path on this machine cannot be used.', 'Check that it exists and may be read.'),
  'local.archive_too_large': kind(413, 'The directory is too large to download at once.', 'Download parts of it.'),
  'gateway.model_not_found': kind(
    404,
    'No route or provider serves this model.',
    'Ask /v1/models for the names; routes and providers are in the configuration.',
  ),
  'gateway.endpoint_unsupported': kind(
    404,
    'The gateway does not serve this endpoint.',
    'See /api/openapi.json for its endpoints; the provider of the model must have it, too.',
  ),
  'gateway.rate_limited': kind(
    429,
    'The provider limits the rate of calls.',
    'Wait as long as Retry-After says, or add another target to the route.',
    true,
  ),
  'gateway.provider_failed': kind(
    502,
    'The provider answered with an error of its own.',
    'Try again; the details list each attempt.',
    true,
  ),
  'gateway.provider_refused': kind(
    502,
    "The provider refused the gateway's own credentials.",
    'Correct the API key of the provider named in the details.',
  ),
  'gateway.provider_unreachable': kind(
    502,
    'The provider cannot be reached.',
    'Check its base URL and the network; the details list each attempt.',
    true,
  ),
  'gateway.provider_timeout': kind(
    504,
    'The provider did not answer in time.',
    'Try again, or raise the timeoutMs of the provider.',
    true,
  ),
  'gateway.stream_broken': kind(
    502,
    'The answer broke off after it had begun.',
    'Send the request again; what arrived so far is incomplete.',
    true,
  ),
  'gateway.response_too_large': kind(
    502,
    'The answer of the provider is larger than the gateway allows.',
    'Ask for a shorter answer.',
  ),
  'gateway.recording_invalid': kind(
    500,
    'A recording is not valid.',
    'Correct the file named in the details; packages/gateway/recorded/README.md describes the format.',
  ),
  'gateway.recording_exhausted': kind(
    409,
    'The conversation left the recording.',
    'Use a live provider, or record this conversation anew.',
  ),
  'gateway.overloaded': kind(503, 'Too many model calls are under way.', 'Try again in a moment.', true),
  'gateway.no_target_left': kind(
    503,
    'No target of the route is well enough to be asked.',
    'Wait as long as Retry-After says, or add another target to the route.',
    true,
  ),
  'gateway.route_loop': kind(
    508,
    'The call has passed through too many gateways.',
    'A provider of a gateway is a gateway that leads back to it: correct its base URL.',
  ),
  'gateway.request_rejected': kind(
    400,
    'The provider refused the request.',
    'Correct the request as the message of the provider says.',
  ),
  'gateway.secret_unreadable': kind(
    500,
    'A stored secret cannot be opened.',
    'Bring back the master key that sealed it, or store the secret anew.',
  ),
  'gateway.idempotency_running': kind(
    409,
    'A request with this idempotency key is under way.',
    'Wait for its answer, then send the same request again to read it.',
    true,
  ),
  'gateway.idempotency_mismatch': kind(
    422,
    'This idempotency key belongs to another request.',
    'Use a new key for each request that differs.',
  ),
  'gateway.idempotency_lost': kind(
    410,
    'The answer to this idempotency key is no longer there.',
    'It was done, but its answer was too large to keep. Use a new key to do it again.',
  ),
  'gateway.model_not_allowed': kind(
    403,
    'This key may not use that model.',
    'Use one of the models that the details name, or another key.',
  ),
  'gateway.closed': kind(503, 'The gateway is shutting down.', 'Send the request again to a running server.', true),
  'budget.exhausted': kind(
    402,
    'A budget has nothing left for this call.',
    'The details name the budget: wait for its next window, or raise it.',
  ),
  'budget.unpriced': kind(
    402,
    'The price of this model is not known, and a hard budget applies.',
    'Add a price for the model, or use one that has a price.',
  ),
  'budget.unavailable': kind(
    503,
    'The budgets cannot be checked at the moment, so no call is made.',
    'Try again when the database is back.',
    true,
  ),
  'limit.requests': kind(429, 'Too many requests in this minute.', 'Wait as long as Retry-After says.', true),
  'limit.tokens': kind(429, 'Too many tokens in this minute.', 'Wait as long as Retry-After says.', true),
  'runaway.killed': kind(403, 'This was stopped by a kill switch.', 'Ask whoever set the kill switch to lift it.'),
  'runaway.cap_reached': kind(
    403,
    'A cap of the run is reached.',
    'The details name the cap. Raise it, or begin a new run.',
  ),
  'runaway.repeated_call': kind(
    403,
    'The run makes the same tool call again and again.',
    'Let the agent do something else, or raise the limit of repeated calls.',
  ),
  'runaway.unchanged_input': kind(
    403,
    'The input of the run grows, and nothing in it is new.',
    'Let the agent do something else, or raise the limit of unchanged inputs.',
  ),
  'webhook.address_refused': kind(
    400,
    'Webhooks may not be sent to that address.',
    'Use a public address, or allow it in the configuration of the server.',
  ),
  'trace.not_found': kind(404, 'No such trace.', 'Check the id; spans of a running trace arrive with a short delay.'),
  'host.command_failed': kind(500, 'A program on the host failed.', 'See its output in the details.'),
  'host.qemu_missing': kind(
    500,
    'QEMU is not installed.',
    'Install qemu-system-x86 (./holdfast doctor names all packages).',
  ),
  'host.qemu_unusable': kind(
    500,
    'QEMU cannot run a guest on this host.',
    'See the details; ./holdfast doctor tests it again.',
  ),
  'template.not_found': kind(404, 'No such template.', 'The details name the templates that exist.'),
  'template.lost': kind(410, 'The template that this sandbox was made of is gone.', 'Create a new sandbox.'),
  'template.build_failed': kind(
    500,
    'The template could not be built.',
    'See the output in the details, then try again.',
    true,
  ),
  'template.boot_failed': kind(500, 'The template did not boot.', 'See the console output in the details.'),
  'template.warm_up_failed': kind(500, 'A warm-up command of the template failed.', 'See its output in the details.'),
  'sandbox.machine_failed': kind(
    500,
    'The machine of the sandbox failed.',
    'Try again; see the server log if it stays.',
    true,
  ),
  'sandbox.machine_lost': kind(
    503,
    'The machine of the sandbox ended.',
    'Try again: the sandbox boots from its disk.',
    true,
  ),
  'sandbox.awake': kind(
    409,
    'Something holds this sandbox awake.',
    'Wait for what the reasons name, or force it.',
    true,
  ),
  'sandbox.failed': kind(409, 'The sandbox failed and cannot run again.', 'Read its notice, then delete it.'),
  'sandbox.name_taken': kind(409, 'A sandbox of this name exists in the workspace.', 'Choose another name.'),
  'sandbox.too_many_layers': kind(
    409,
    'The sandbox has too many layers.',
    'Create a new sandbox and copy the files there.',
  ),
  'sandbox.standby_corrupt': kind(
    409,
    'The saved memory of the sandbox is corrupt.',
    'Its files are kept: the next request boots it from its disk.',
    true,
  ),
  'guest.unknown_op': kind(502, 'The guest agent does not know this operation.', 'Rebuild the template.'),
  'guest.bad_request': kind(400, 'The guest agent refused the request.', 'Correct what the message names.'),
  'guest.too_many_streams': kind(429, 'Too many operations are open in this sandbox.', 'Wait for some to end.', true),
  'guest.invalid_path': kind(400, 'The path is not valid.', 'Use an absolute path without ".", ".." or NUL.'),
  'guest.not_found': kind(404, 'No such file or directory in the sandbox.', 'Check the path.'),
  'guest.exists': kind(409, 'The path already exists in the sandbox.', 'Remove it first, or allow overwriting.'),
  'guest.not_a_directory': kind(409, 'The path is not a directory.', 'Check the path.'),
  'guest.is_a_directory': kind(409, 'The path is a directory.', 'Name a file in it.'),
  'guest.not_empty': kind(409, 'The directory is not empty.', 'Remove it recursively.'),
  'guest.permission_denied': kind(403, 'The sandbox does not permit this.', 'Check owner and mode of the path.'),
  'guest.not_executable': kind(400, 'The command cannot be executed.', 'Check that it is an executable file.'),
  'guest.no_space': kind(507, 'The disk of the sandbox is full.', 'Remove files, or use a larger disk.'),
  'guest.too_large': kind(413, 'The request or its content is too large for the guest.', 'Send less at once.'),
  'guest.user_not_found': kind(400, 'No such user in the sandbox.', 'Create the user, or use a numeric id.'),
  'guest.cwd_not_found': kind(400, 'The working directory does not exist in the sandbox.', 'Create it first.'),
  'guest.name_taken': kind(409, 'A process of this name exists in the sandbox.', 'Stop it, or choose another name.'),
  'guest.process_not_found': kind(404, 'No background process of this name.', 'List the processes of the sandbox.'),
  'guest.too_many_processes': kind(429, 'Too many processes in the sandbox.', 'Stop some of them.', true),
  'guest.connection_refused': kind(502, 'Nothing accepts this connection in the sandbox.', 'Start the service.', true),
  'guest.address_in_use': kind(409, 'The address is already in use in the sandbox.', 'Choose another port or path.'),
  'guest.watch_overflow': kind(503, 'Changes came faster than they were read.', 'Watch again and list anew.', true),
  'guest.busy': kind(409, 'The sandbox is busy.', 'Wait for the running operations, or force it.', true),
  'guest.cancelled': kind(409, 'The operation was cancelled.', 'Start it again if it is still wanted.'),
  'guest.io_error': kind(500, 'Input or output failed in the sandbox.', 'See errno in the details.'),
  'guest.version_mismatch': kind(502, 'The guest agent speaks another protocol version.', 'Rebuild the template.'),
  'guest.protocol_error': kind(
    502,
    'The guest violated the protocol; its connection was closed.',
    'Resume the sandbox.',
  ),
  'guest.disconnected': kind(503, 'The connection to the guest is closed.', 'Try again.', true),
  'guest.timeout': kind(504, 'The guest agent did not answer in time.', 'Try again.', true),
  'guest.stdin_closed': kind(409, 'The other side takes no more input.', 'Do not write after the end.'),
  'ram.corrupt': kind(
    500,
    'The saved memory of the sandbox is damaged.',
    'Start the sandbox from its disk, which is kept apart from its memory.',
  ),
  'ram.no_space': kind(507, 'No space is left for the memory of the sandbox.', 'Free space in the data folder.', true),
  'ram.failed': kind(500, 'The memory of the sandbox could not be saved or loaded.', 'See the reason in the details.'),
  'ram.unavailable': kind(503, 'The memory of the sandbox cannot be reached.', 'Try again.', true),
  'setup.unsupported_system': kind(500, 'Holdfast does not run on this system.', 'See the message for what it needs.'),
  'setup.npm_missing': kind(500, 'The command npm was not found.', 'Install any Node.js that comes with npm.'),
  'setup.node_failed': kind(500, 'Node.js could not be brought.', 'See the setup log in the data folder.'),
  'setup.dependencies_failed': kind(
    500,
    'The npm dependencies could not be installed.',
    'See the setup log in the data folder.',
  ),
  'setup.packages_missing': kind(500, 'System packages are missing.', 'Install the packages that the message names.'),
  'setup.packages_failed': kind(
    500,
    'System packages could not be installed.',
    'See the setup log in the data folder.',
  ),
  'cli.usage': kind(400, 'The command line is not valid.', 'See --help of the command.'),
  'cli.not_terminal': kind(400, 'This needs a terminal.', 'Run it in a terminal, or use: sandbox exec'),
  'cli.server_start_failed': kind(500, 'The server did not start.', 'See the server log named in the details.'),
  'cli.program_failed': kind(500, 'A program that the command started failed.', 'See what it printed.'),
  'internal.unexpected': kind(
    500,
    'Something went wrong inside Holdfast.',
    'Look at the server log for this request id.',
  ),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCatalogue;

/** JSON-safe facts about one occurrence. Never secrets. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message?: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message ?? errorCatalogue[code].title, options);
    this.code = code;
    this.details = details;
  }

  get kind(): ErrorKind {
    return errorCatalogue[this.code];
  }
}
