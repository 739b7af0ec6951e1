import type {
  AttemptRow,
  GatewayEvent,
  KillSwitch,
  RunCaps,
  RunTotals,
  TailItem,
  UsageGroup,
  UsageRow,
  Webhook,
  WebhookDelivery,
} from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';
import type { StoredEvent } from '../events/event-log.ts';
import type { Delivery } from '../events/webhooks.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import type { KillSubject, KillSwitch as SetKill } from '../runaway/kill-switches.ts';
import type { CapSubject, RunCaps as Caps, ListedCaps } from '../runaway/run-caps.ts';
import { subjectIdOf } from './subject.ts';
import { readAttempts, usageReport } from './usage-report.ts';

const usualUsageMs = 30 * 86_400_000;

const viewEvent = ({ at, data, ...event }: StoredEvent): GatewayEvent => ({
  ...event,
  at: at.toISOString(),
  data: { ...data },
});

const viewKill = ({ createdAt, liftedAt, ...kill }: SetKill): KillSwitch => ({
  ...kill,
  createdAt: createdAt.toISOString(),
  liftedAt: liftedAt?.toISOString() ?? null,
});

const viewDelivery = ({ nextAt, createdAt, ...delivery }: Delivery): WebhookDelivery => ({
  ...delivery,
  nextAt: nextAt?.toISOString() ?? null,
  createdAt: createdAt.toISOString(),
});

/** The workspace's own caps have no id in the table, and the workspace's outside. */
const viewCaps = (by: Principal, { updatedAt, ...caps }: ListedCaps): RunCaps => ({
  ...caps,
  subjectId: caps.subject === 'workspace' ? by.workspaceId : caps.subjectId,
  updatedAt: updatedAt.toISOString(),
});

/** What the admin API does with runs, kill switches, the ledger, events and webhooks; answers are the contract's documents. */
export class GatewayControl {
  readonly #parts: GatewayParts;

  constructor({ parts }: Gateway) {
    this.#parts = parts;
  }

  /** The last 30 days unless told. Errors: `request.invalid`. */
  async usage(
    by: Principal,
    query: {
      readonly since: string | undefined;
      readonly until: string | undefined;
      readonly by: readonly UsageGroup[];
      readonly timeZone: string;
      readonly limit: number;
    },
  ): Promise<{ since: string; until: string; items: UsageRow[] }> {
    const until = query.until === undefined ? new Date(this.#parts.clock.now()) : new Date(query.until);
    const since = query.since === undefined ? new Date(until.getTime() - usualUsageMs) : new Date(query.since);
    const items = await usageReport(this.#parts.database, by.workspaceId, { ...query, since, until });
    return { since: since.toISOString(), until: until.toISOString(), items };
  }

  attempts(
    by: Principal,
    page: { readonly limit: number; readonly cursor: string | undefined; readonly run: string | undefined },
  ): Promise<{ items: AttemptRow[]; cursor: string | null }> {
    return readAttempts(this.#parts.database, by.workspaceId, page);
  }

  async runs(by: Principal, limit: number): Promise<RunTotals[]> {
    const totals = await this.#parts.runaway.totals.list(by.workspaceId, limit);
    return totals.map((run) => ({
      ...run,
      startedAt: run.startedAt.toISOString(),
      updatedAt: run.updatedAt.toISOString(),
    }));
  }

  /** Errors: `request.invalid`, `quota.exceeded`. */
  async putCaps(by: Principal, subject: CapSubject, subjectId: string | undefined, caps: Caps): Promise<RunCaps> {
    const id = subject === 'workspace' ? '' : await this.#subject(by, subject, subjectId);
    return viewCaps(by, await this.#parts.runaway.caps.put(by, subject, id, caps));
  }

  async listCaps(by: Principal, limit: number): Promise<RunCaps[]> {
    return (await this.#parts.runaway.caps.list(by, limit)).map((caps) => viewCaps(by, caps));
  }

  /** The workspace's by its own id. Errors: `resource.not_found`. */
  async removeCaps(by: Principal, subject: CapSubject, id: string): Promise<void> {
    if (subject === 'workspace' && id !== by.workspaceId)
      throw new HoldfastError('resource.not_found', undefined, { subject, id });
    const stored = subject === 'workspace' ? '' : await subjectIdOf(this.#parts.database, by.workspaceId, subject, id);
    await this.#parts.runaway.caps.remove(by, subject, stored);
  }

  /** Errors: `request.invalid`, `quota.exceeded`. */
  async setKill(
    by: Principal,
    subject: KillSubject,
    subjectId: string | undefined,
    reason: string,
  ): Promise<KillSwitch> {
    const id = subject === 'workspace' ? by.workspaceId : await this.#subject(by, subject, subjectId);
    return viewKill(await this.#parts.runaway.kills.set(by, subject, id, reason));
  }

  async listKills(by: Principal, o: { readonly lifted: boolean; readonly limit: number }): Promise<KillSwitch[]> {
    return (await this.#parts.runaway.kills.list(by, o)).map(viewKill);
  }

  /** Errors: `resource.not_found`. */
  liftKill(by: Principal, id: string): Promise<void> {
    return this.#parts.runaway.kills.lift(by, id);
  }

  async events(
    by: Principal,
    query: { readonly after: number; readonly types: readonly string[] | undefined; readonly limit: number },
  ): Promise<GatewayEvent[]> {
    const { after, limit, types = null } = query;
    return (await this.#parts.events.list(by.workspaceId, { after, types, limit })).map(viewEvent);
  }

  /** The last events, and with `follow` what happens from now on, until the signal aborts. */
  async *tail(
    by: Principal,
    o: { readonly last: number; readonly follow: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<TailItem> {
    const { events, tail } = this.#parts;
    const after = await events.before(by.workspaceId, o.last);
    if (!o.follow) {
      for (const event of await events.list(by.workspaceId, { after, types: null, limit: o.last }))
        yield { kind: 'event', event: viewEvent(event) };
      return;
    }
    for await (const item of tail.follow(by.workspaceId, after, signal))
      yield item.kind === 'event' ? { kind: 'event', event: viewEvent(item.event) } : item;
  }

  /** Errors: `webhook.address_refused`, `request.invalid`, `quota.exceeded`. */
  async createWebhook(by: Principal, url: string, types: readonly string[]): Promise<Webhook & { secret: string }> {
    const { webhook, secret } = await this.#parts.webhooks.create(by, url, types);
    const { id, createdAt } = webhook;
    return { id, url, types: [...types], createdAt: createdAt.toISOString(), secret: secret.reveal() };
  }

  async listWebhooks(by: Principal): Promise<Webhook[]> {
    const found = await this.#parts.webhooks.list(by);
    return found.map(({ types, createdAt, ...hook }) => ({
      ...hook,
      types: [...types],
      createdAt: createdAt.toISOString(),
    }));
  }

  /** Errors: `resource.not_found`. */
  removeWebhook(by: Principal, id: string): Promise<void> {
    return this.#parts.webhooks.remove(by, id);
  }

  /** Errors: `resource.not_found`. */
  async testWebhook(by: Principal, id: string): Promise<string> {
    const deliveryId = await this.#parts.webhooks.test(by, id);
    this.#parts.webhookSender.nudge();
    return deliveryId;
  }

  /** Errors: `resource.not_found`. */
  async deliveries(by: Principal, id: string, limit: number): Promise<WebhookDelivery[]> {
    return (await this.#parts.webhooks.deliveries(by, id, limit)).map(viewDelivery);
  }

  #subject(by: Principal, subject: KillSubject, subjectId: string | undefined): Promise<string> {
    if (subjectId === undefined)
      throw new HoldfastError('request.invalid', `Which ${subject}? Give subjectId.`, { field: 'subjectId' });
    return subjectIdOf(this.#parts.database, by.workspaceId, subject, subjectId);
  }
}
