import { maxModelRequestBytes } from '@holdfast/contract';
import { type Clock, type Log, type SpanSink, systemRandom } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openSpending, type SpendingLimits } from './budgets/open-spending.ts';
import { openAnswerCache } from './caches/answer-cache.ts';
import type { GatewayConfiguration } from './configuration.ts';
import { AddressGuard } from './events/address-guard.ts';
import { EventLog } from './events/event-log.ts';
import { Tail } from './events/tail.ts';
import { WebhookSender } from './events/webhook-sender.ts';
import { Webhooks } from './events/webhooks.ts';
import { type Gateway, type GatewayLimits, type GatewayParts, OpenGateway } from './gateway.ts';
import { openIdempotency } from './idempotency/idempotency-store.ts';
import { GatewayCounters } from './metrics/gateway-metrics.ts';
import { openPrices } from './prices/open-prices.ts';
import { DatabaseProviders } from './providers/database-providers.ts';
import { HttpClient } from './providers/http-client.ts';
import { Catalogue } from './routing/catalogue.ts';
import { type BreakerLimits, defaultBreaker } from './routing/target-health.ts';
import { openRunaway } from './runaway/open-runaway.ts';
import type { MasterKeys } from './secrets/master-keys.ts';

const defaultLimits: GatewayLimits = {
  maxRequestBytes: maxModelRequestBytes,
  maxResponseBytes: 67_108_864,
  maxEventBytes: 8_388_608,
  maxCalls: 4_096,
  // Holds on budgets are forgotten after an hour.
  maxCallMs: 3_300_000,
  maxDrainMs: 60_000,
};

export interface GatewayOptions {
  readonly database: Database;
  readonly configuration: GatewayConfiguration;
  readonly spans: SpanSink;
  readonly clock: Clock;
  readonly log: Log;
  readonly masterKeys: MasterKeys;
  readonly limits?: Partial<GatewayLimits>;
  readonly breaker?: Partial<BreakerLimits>;
  readonly spendingLimits?: Partial<SpendingLimits>;
  /** Private addresses that webhooks may be sent to all the same. */
  readonly webhookAddresses?: readonly string[];
  /** A newer table of prices than the release's own. */
  readonly pricesFile?: string | null;
  /** From 0 up to 1; `Math.random` unless told. */
  readonly random?: () => number;
}

interface Closable {
  readonly close: () => Promise<void> | void;
}

/** Opened so far, closed in the opposite order, each even when another fails to close. */
class Opened {
  readonly #closers: Closable[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add<T extends Closable>(opened: T): T {
    this.#closers.push(opened);
    return opened;
  }

  async close(): Promise<void> {
    for (let next = this.#closers.pop(); next !== undefined; next = this.#closers.pop())
      try {
        await next.close();
      } catch (error) {
        this.#log.error('a part of the gateway did not close', { error });
      }
  }
}

const openParts = async (options: GatewayOptions, opened: Opened): Promise<GatewayParts> => {
  const { database, clock, log, spans, masterKeys } = options;
  const random = options.random ?? Math.random;
  const shared = { database, clock, log };
  const http = opened.add(new HttpClient());
  const guard = new AddressGuard(options.webhookAddresses ?? []);
  const webhookSender = opened.add(new WebhookSender({ ...shared, random, masterKeys, guard }));
  const events = opened.add(new EventLog(shared));
  events.onEvents(() => webhookSender.nudge());
  const tail = opened.add(new Tail({ ...shared, events }));
  const prices = opened.add(await openPrices({ ...shared, file: options.pricesFile ?? null }));
  const spending = opened.add(await openSpending({ ...shared, events, limits: options.spendingLimits ?? {} }));
  const runaway = opened.add(await openRunaway({ ...shared, events }));
  const providers: DatabaseProviders = new DatabaseProviders({
    ...{ ...shared, masterKeys },
    serverProviders: () => catalogue.serverProviders,
  });
  const catalogue = opened.add(
    new Catalogue({
      ...{ ...shared, store: providers, http },
      breaker: { ...defaultBreaker, ...options.breaker },
    }),
  );
  await catalogue.replaceServer(options.configuration);
  return {
    ...{ ...shared, spans, random, masterKeys, http, providers, catalogue, prices, spending, runaway, events },
    cache: opened.add(openAnswerCache(shared)),
    idempotency: opened.add(openIdempotency(shared)),
    metrics: new GatewayCounters((metric) => tail.attempt(metric)),
    tail,
    webhooks: new Webhooks({ database, clock, random: systemRandom, masterKeys, guard }),
    webhookSender,
  };
};

/** Opens the gateway on a migrated database. Errors: `gateway.recording_invalid`, `config.invalid`, those of the database. */
export const openGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const opened = new Opened(options.log);
  try {
    const parts = await openParts(options, opened);
    return new OpenGateway(parts, { ...defaultLimits, ...options.limits }, () => opened.close());
  } catch (error) {
    await opened.close();
    throw error;
  }
};
