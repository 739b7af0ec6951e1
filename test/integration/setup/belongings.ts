import { newId, newSpanId, newTraceId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
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
  };
};
