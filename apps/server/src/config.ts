import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { memoryTiersMib } from '@holdfast/contract';
import { HoldfastError, Secret } from '@holdfast/core';
import { gatewayConfiguration } from '@holdfast/gateway';
import { z } from 'zod';

const port = z.number().int().min(0).max(65_535);
const logLevel = z.enum(['debug', 'info', 'warn', 'error', 'silent']);
const secret = z
  .string()
  .min(1)
  .max(4_096)
  .transform((text) => new Secret(text));
const databaseUrl = z
  .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgresql:// URL' })
  .max(4_096)
  .transform((text) => new Secret(text));

const sandboxSchema = z.strictObject({
  /** First of the host users that machines run under when the server is root. */
  firstUid: z.number().int().min(1_000).max(4_000_000_000).default(61_800),
  pool: z
    .strictObject({
      /** Machines kept ready for each template in use. */
      least: z.number().int().min(0).max(64).default(1),
      most: z.number().int().min(0).max(256).default(8),
    })
    .refine((pool) => pool.least <= pool.most, { message: 'must not be more than most', path: ['least'] })
    .prefault({}),
  /** Folder of templates, on the file system of the data folder; servers may share it. */
  templatesFolder: z.string().startsWith('/').max(4_096).optional(),
  /** Memory tiers in MiB to have machines ready for from the start. */
  warmTiersMib: z
    .array(z.union(memoryTiersMib.map((tier) => z.literal(tier))))
    .max(5)
    .default([512]),
});

/** `<home>/config.json`. Every key may be left out; the environment wins over the file. */
const fileSchema = z.strictObject({
  host: z.string().min(1).max(255).optional(),
  port: port.optional(),
  databaseUrl: databaseUrl.optional(),
  logLevel: logLevel.optional(),
  /** User that runs the embedded PostgreSQL when the server is root. */
  databaseUid: z.number().int().min(1).max(4_294_967_293).optional(),
  sandbox: sandboxSchema.prefault({}),
  /** How long requests and streams may go on when the server is told to stop. */
  shutdownSeconds: z.number().int().min(0).max(3_600).default(5),
  /** Private addresses, or ranges such as 10.1.0.0/16, that webhooks may be sent to. */
  webhookAddresses: z.array(z.string().max(64)).max(100).default([]),
  /** A newer table of prices than the release's own; read again when it changes. */
  pricesFile: z.string().startsWith('/').max(4_096).optional(),
  providers: z.unknown().optional(),
  routes: z.unknown().optional(),
});

const portText = z
  .string()
  .regex(/^[0-9]{1,5}$/, 'must be a number from 0 to 65535')
  .transform(Number)
  .pipe(port);

const environmentSchema = z.object({
  HOLDFAST_HOME: z.string().min(1).max(4_096).optional(),
  HOLDFAST_HOST: z.string().min(1).max(255).optional(),
  HOLDFAST_PORT: portText.optional(),
  HOLDFAST_LOG_LEVEL: logLevel.optional(),
  DATABASE_URL: databaseUrl.optional(),
  HOLDFAST_MASTER_KEY: secret.optional(),
  HOLDFAST_TEST_KILL_AT: z
    .string()
    .regex(/^[a-z0-9_.-]{1,64}(:[1-9][0-9]{0,5})?$/)
    .optional(),
  OPENAI_API_KEY: secret.optional(),
  OPENAI_MODEL: z.string().min(1).max(256).optional(),
  OPENAI_BASE_URL: z
    .url({ protocol: /^https?$/ })
    .max(2_048)
    .optional(),
});

export interface Config {
  /** Absolute. */
  readonly home: string;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Null: the embedded server. */
  readonly databaseUrl: Secret | null;
  readonly databaseUid: number | null;
  readonly logLevel: z.output<typeof logLevel>;
  readonly sandbox: z.output<typeof sandboxSchema>;
  /** A fault point of the sandbox layer at which the process kills itself; for tests of recovery. */
  readonly killAt: string | null;
  readonly gateway: z.output<typeof gatewayConfiguration>;
  /** Seals stored secrets, the current key first; null: those of a file in the data folder. */
  readonly masterKey: Secret | null;
  readonly webhookAddresses: readonly string[];
  readonly pricesFile: string | null;
  readonly shutdownSeconds: number;
}

const maxFileBytes = 1_048_576;

const explain = (where: Readonly<Record<string, string>>, source: string, error: z.ZodError): HoldfastError => {
  const issues = error.issues.slice(0, 20).map((issue) => ({ path: issue.path.join('.'), reason: issue.message }));
  const first = issues[0];
  const text = first === undefined ? '' : ` ${first.path === '' ? '' : `${first.path}: `}${first.reason}.`;
  return new HoldfastError('config.invalid', `${source} is not valid.${text}`, { ...where, issues });
};

const readFile = (file: string): string | null => {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new HoldfastError('config.invalid', `${file} cannot be read.`, { file, reason: code }, { cause });
  }
};

const parseFile = (file: string): z.output<typeof fileSchema> => {
  const text = readFile(file);
  if (text === null) return fileSchema.parse({});
  if (text.length > maxFileBytes) throw new HoldfastError('config.invalid', `${file} is too long.`, { file });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    // Node quotes the text around the fault, which may be a secret; the position is enough.
    const position = /position \d+(?: \(line \d+ column \d+\))?/.exec(String(cause))?.[0];
    const reason = `it is not JSON${position === undefined ? '' : ` (${position})`}`;
    throw new HoldfastError('config.invalid', `${file}: ${reason}.`, { file, reason });
  }
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) throw explain({ file }, file, parsed.error);
  return parsed.data;
};

type Environment = z.output<typeof environmentSchema>;

/** Recorded replies of the examples, so that they work before any model is configured. */
const recorded = {
  name: 'recorded',
  kind: 'recorded',
  baseUrl: new URL('../../../examples/fix-failing-test/recorded', import.meta.url).href,
} as const;

/** What the environment describes: a provider, and the model route `default` to its model. */
const environmentGateway = ({ OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseUrl, OPENAI_MODEL: model }: Environment) => {
  if (apiKey === undefined && baseUrl === undefined) return { providers: [], routes: [] };
  const openai = {
    name: 'openai',
    kind: 'openai-compatible' as const,
    baseUrl: baseUrl ?? 'https://api.openai.com/v1',
    ...(apiKey === undefined ? {} : { apiKey }),
  };
  const target = { provider: 'openai', model: model ?? 'gpt-4.1-mini' };
  return { providers: [openai], routes: [{ name: 'default', targets: [target] }] };
};

/** `more`, without what `given` has under the same name. */
const unnamedIn = <T extends { readonly name: string }>(given: readonly { name: string }[], more: readonly T[]): T[] =>
  more.filter(({ name }) => given.every((one) => one.name !== name));

/** What the file says first; then, unless the file uses their names, what the environment describes and the recordings. */
const gatewayOf = (file: string, document: z.output<typeof fileSchema>, environment: Environment) => {
  const given = { providers: document.providers, routes: document.routes };
  const parsed = gatewayConfiguration.safeParse(given);
  if (!parsed.success) throw explain({ file }, file, parsed.error);
  const { providers, routes } = parsed.data;
  const more = environmentGateway(environment);
  return gatewayConfiguration.parse({
    providers: [...providers, ...unnamedIn(providers, [...more.providers, recorded])],
    routes: [...routes, ...unnamedIn(routes, more.routes)],
  });
};

/**
 * Reads the configuration once: the environment, then `<home>/config.json`, then defaults.
 * Errors: `config.invalid` that names the variable, or the file and the path in it, and the reason.
 */
export const readConfig = (variables: Readonly<Record<string, string | undefined>>): Config => {
  // A variable that is set to nothing is as good as unset, as is usual for shells and container files.
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(set);
  if (!parsed.success) throw explain({ source: 'environment' }, 'The environment', parsed.error);
  const environment = parsed.data;
  const home = resolve(environment.HOLDFAST_HOME ?? join(homedir(), '.holdfast'));
  const file = join(home, 'config.json');
  const document = parseFile(file);
  return {
    home,
    host: environment.HOLDFAST_HOST ?? document.host ?? '127.0.0.1',
    port: environment.HOLDFAST_PORT ?? document.port ?? 7070,
    databaseUrl: environment.DATABASE_URL ?? document.databaseUrl ?? null,
    databaseUid: document.databaseUid ?? null,
    logLevel: environment.HOLDFAST_LOG_LEVEL ?? document.logLevel ?? 'info',
    sandbox: document.sandbox,
    killAt: environment.HOLDFAST_TEST_KILL_AT ?? null,
    gateway: gatewayOf(file, document, environment),
    masterKey: environment.HOLDFAST_MASTER_KEY ?? null,
    webhookAddresses: document.webhookAddresses,
    pricesFile: document.pricesFile ?? null,
    shutdownSeconds: document.shutdownSeconds,
  };
};
