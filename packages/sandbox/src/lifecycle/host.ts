import type { Clock, Log, RandomBytes } from '@holdfast/core';
import type { GuestClient } from '../guest/index.ts';
import type { Machine } from '../host/machine.ts';
import type { MachinePlace } from '../host/machine-folder.ts';
import type { MachinePool } from '../host/pool.ts';
import type { RamVerification } from '../ram/index.ts';
import type { SandboxFiles } from '../store/files.ts';
import type { SandboxRow, SandboxTable } from '../store/sandbox-table.ts';
import type { FrozenTemplate, TemplateStore } from '../template/store.ts';

/**
 * Places where a crash is worst. Tests end the process there; nothing else happens at them.
 * Each is named for the step that has just been done.
 */
export const faultPoints = [
  'create.disk_made',
  'create.state_loaded',
  'create.recorded',
  'create.running',
  'resume.machine_taken',
  'resume.loaded',
  'resume.recorded',
  'resume.running',
  'standby.frozen',
  'standby.paused',
  'standby.saved',
  'standby.recorded',
  'standby.stopped',
  'fork.paused',
  'fork.saved',
  'fork.recorded',
  'fork.layered',
  'delete.recorded',
  'delete.stopped',
  'delete.files_removed',
] as const;
export type FaultPoint = (typeof faultPoints)[number];

/** One thing done with a sandbox, for traces and metrics. */
export interface SandboxOperation {
  readonly name: 'create' | 'resume' | 'cold_boot' | 'standby' | 'fork' | 'delete';
  readonly workspaceId: string;
  readonly sandboxId: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly error: string | null;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}

/** What all sandboxes of this server share. */
export interface Host {
  readonly id: string;
  readonly table: SandboxTable;
  readonly files: SandboxFiles;
  readonly templates: TemplateStore;
  readonly pool: MachinePool;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly log: Log;
  /** Folders of all machines. */
  readonly machines: MachinePlace;
  readonly reach: (point: FaultPoint) => void;
  /** Takes over work that nobody waits for; it is over before the layer is closed. */
  readonly later: (work: Promise<void>) => void;
  readonly observe: (operation: SandboxOperation) => void;
}

/** A sandbox that has a machine. */
export interface Running {
  readonly machine: Machine;
  readonly guest: GuestClient;
  readonly template: FrozenTemplate;
  /** Name of the writable disk layer in QEMU's block graph. */
  diskTop: string;
  /** Monotonic milliseconds when it began to run. */
  readonly since: number;
  /** How the check of the RAM it was resumed with ends, which goes on while it runs; null when there is nothing to check. */
  readonly verification: Promise<RamVerification> | null;
}

export type { SandboxRow };
