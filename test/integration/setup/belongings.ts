import { newId, newSpanId, newTraceId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { GatewayAdmin, GatewayControl, noCaps } from '@holdfast/gateway';
import type { Principal } from '@holdfast/identity';
import type { RunningServer } from '@holdfast/server';
import type { Belongings } from './route-inputs.ts';

/** A sandbox that has never run: enough for every question of who may see it. The next start of the server finds it. */
const insertSandbox = async (database: Database, workspaceId: string, name: string): Promise<string> => {
  const { id: hostId } = await database.kysely.selectFrom('sandbox_hosts').select('id').executeTakeFirstOrThrow();
  const id = newId('sbx');
  await database.kysely
    .insertInto('sandboxes')
    .values({
      ...{ id, workspace_id: workspaceId, name, host_id: hostId, template: 'base', frozen_key: 'none' },
      ...{ memory_mib: 512, vcpus: 1, disk_mib: 1024, state: 'stopped', idle_timeout_ms: 15_000, max_lifetime_ms: 0 },
      ...{ disk_chain: [], hostname: name, guest_machine_id: '0'.repeat(32), identity_pending: false },
    })
    .execute();
  return id;
};

const fillGateway = async ({ layers }: RunningServer, principal: Principal, name: string) => {
  const [admin, control] = [new GatewayAdmin(layers.gateway), new GatewayControl(layers.gateway)];
  const providerName = `${name}-provider`;
  const modelRoute = `${name}-route`;
  const cappedRun = `${name}-run`;
  await admin.putProvider(principal, { name: providerName, kind: 'openai', apiKey: 'sk-of-the-victim' });
  await admin.putRoute(principal, { name: modelRoute, targets: [{ provider: providerName, model: 'gpt-4.1-mini' }] });
  const budget = await admin.createBudget(principal, { scope: 'workspace', period: 'month', amount: 1_000_000 });
  const price = await admin.createPrice(principal, { provider: 'openai', model: `${name}-model` });
  await control.putCaps(principal, 'run', cappedRun, { ...noCaps, maxCalls: 5 });
  const kill = await control.setKill(principal, 'run', `${name}-killed`, 'a test');
  const webhook = await control.createWebhook(principal, `https://${name}.example.com/hook`, ['webhook.test']);
  return {
    providerName,
    modelRoute,
    cappedRun,
    budgetId: budget.id,
    priceId: price.id,
    killId: kill.id,
    webhookId: webhook.id,
  };
};

/** Gives a workspace one of everything that has an id. */
export const fillWorkspace = async (server: RunningServer, ownerKey: string, name: string): Promise<Belongings> => {
  const { database, identity, observability } = server.layers;
  const principal = await identity.authenticate(ownerKey);
  const { key } = await identity.keys.create(principal, { name: 'victim', role: 'viewer' });
  const team = await identity.teams.create(principal, 'victims');
  const agent = await identity.agents.create(principal, { name: 'victim' });
  const traceId = newTraceId();
  const span = {
    traceId,
    spanId: newSpanId(),
    parentSpanId: null,
    kind: 'agent' as const,
    name: 'work',
    attributes: {},
  };
  const outcome = { startMs: 1, endMs: 2, status: 'ok' as const, statusMessage: null };
  const usage = { inputTokens: null, outputTokens: null, costMicroUsd: null };
  observability.ingest(principal, [{ ...span, ...outcome, ...usage }]);
  await observability.flush();
  return {
    workspaceId: principal.workspaceId,
    keyId: key.id,
    teamId: team.id,
    agentId: agent.id,
    sandboxId: await insertSandbox(database, principal.workspaceId, name),
    sandboxName: name,
    traceId,
    ...(await fillGateway(server, principal, name)),
  };
};
