import { newId } from '@holdfast/core';
import type { CreateSandbox, Scope } from '../service.ts';
import { persist } from '../store/persistence.ts';
import type { FrozenTemplate } from '../template/store.ts';
import type { Host, Running, SandboxRow } from './host.ts';
import { guestIdentity } from './identity.ts';
import { startFromState } from './start.ts';

/** A row for a sandbox that is about to be; it is in the database when `createSandbox` has returned. */
export function newRow(host: Host, scope: Scope, input: CreateSandbox, template: FrozenTemplate): SandboxRow {
  const id = newId('sbx');
  const now = new Date(host.clock.now());
  return {
    ...guestIdentity(id),
    identity_pending: true,
    id,
    workspace_id: scope.workspaceId,
    name: input.name ?? null,
    host_id: host.id,
    parent_id: null,
    template: input.template,
    frozen_key: template.key,
    memory_mib: template.shape.memoryMib,
    vcpus: template.shape.vcpus,
    disk_mib: template.diskMib,
    state: 'running',
    idle_timeout_ms: input.idleTimeoutMs,
    max_lifetime_ms: input.maxLifetimeMs,
    run_time_ms: 0,
    keep_alive_until: null,
    labels: input.labels,
    disk_chain: [],
    ram_chain: [],
    snapshot_id: null,

    machine_id: null,
    stored_bytes: 0,
    notice: null,
    created_at: now,
    last_active_at: now,
  };
}

/** Resumes a copy-on-write child of the template. Leaves nothing behind when it throws. */
export async function createSandbox(
  host: Host,
  draft: SandboxRow,
  template: FrozenTemplate,
): Promise<{ running: Running; row: SandboxRow }> {
  const disk = await host.files.createDisk(template);
  host.reach('create.disk_made');
  let row: SandboxRow = { ...draft, disk_chain: [disk] };
  host.files.hold({ diskChain: row.disk_chain, ramChain: [], snapshotId: null });
  try {
    const running = await startFromState(host, row, template, {
      state: template.state,
      ram: null,
      record: async (machine) => {
        row = { ...row, machine_id: machine.id };
        await host.table.insert([{ ...row, identity_pending: false }], {
          type: 'created',
          data: { template: row.template, memoryMib: row.memory_mib },
        });
      },
      reach: {
        loaded: () => host.reach('create.state_loaded'),
        recorded: () => host.reach('create.recorded'),
      },
    });
    host.reach('create.running');
    return { running, row: { ...row, identity_pending: false } };
  } catch (error) {
    // The row goes first: a file without a row is swept, a row without its files would be half a sandbox.
    await persist(() => host.table.delete(row));
    await host.files.release({ diskChain: row.disk_chain, ramChain: [], snapshotId: null });
    throw error;
  }
}
