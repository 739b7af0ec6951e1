import { request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { Op, Tag } from './tags.ts';
import type { Fields, FieldsBuilder } from './tlv.ts';

export interface GuestIdentity {
  readonly hostname?: string;
  /** 32 hex digits. */
  readonly machineId?: string;
}

/** What a guest needs before its processes run again. */
export interface GuestRestore extends GuestIdentity {
  /** Since 1970. */
  readonly timeNs: bigint;
  /** 32 to 512 fresh random bytes. */
  readonly entropy: Uint8Array;
}

export interface GuestStats {
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  readonly processes: number;
  readonly diskTotalBytes: number;
  readonly diskFreeBytes: number;
  /** Open foreground streams. */
  readonly foreground: number;
  /** Background processes. */
  readonly background: number;
}

const nothing = (): void => undefined;

/** Nanoseconds since 1970 by the guest's clock. */
export const ping = (connection: GuestConnection): Promise<bigint> =>
  connection.request(request(Op.ping), (answer) => BigInt.asUintN(64, answer.u64(Tag.timeNs) ?? 0n));

export const stepClock = async (connection: GuestConnection, timeNs: bigint): Promise<void> =>
  connection.request(request(Op.clock).number(Tag.timeNs, timeNs), nothing);

export const reseed = async (connection: GuestConnection, entropy: Uint8Array): Promise<void> =>
  connection.request(request(Op.reseed).bytes(Tag.entropy, entropy), nothing);

export const setIdentity = async (connection: GuestConnection, identity: GuestIdentity): Promise<void> =>
  connection.request(withIdentity(request(Op.identity), identity), nothing);

export const restore = async (connection: GuestConnection, o: GuestRestore): Promise<void> =>
  connection.request(
    withIdentity(request(Op.restore).number(Tag.timeNs, o.timeNs).bytes(Tag.entropy, o.entropy), o),
    nothing,
  );

/** What becomes of foreground execs: they forbid it, become background processes, or stay, for a pause within the session. */
const foregroundModes = { refuse: 0, detach: 1, keep: 2 } as const;

export interface GuestFreeze {
  /** Whether the disk is written out too. */
  readonly sync: boolean;
  readonly foreground: keyof typeof foregroundModes;
}

export const freeze = (connection: GuestConnection, o: GuestFreeze): Promise<void> =>
  connection.request(
    request(Op.freeze).flag(Tag.sync, o.sync).number(Tag.detach, foregroundModes[o.foreground]),
    nothing,
  );

/** THAW, SYNC and POWEROFF: neither arguments nor answers. */
export const command = (connection: GuestConnection, op: number): Promise<void> =>
  connection.request(request(op), nothing);

export const stats = (connection: GuestConnection): Promise<GuestStats> =>
  connection.request(request(Op.stats), parseStats);

function withIdentity(fields: FieldsBuilder, identity: GuestIdentity): FieldsBuilder {
  return fields.text(Tag.hostname, identity.hostname).text(Tag.machineId, identity.machineId);
}

function parseStats(answer: Fields): GuestStats {
  return {
    memoryTotalBytes: answer.requireNumber(Tag.memoryTotal),
    memoryAvailableBytes: answer.requireNumber(Tag.memoryAvailable),
    processes: answer.requireNumber(Tag.processes),
    diskTotalBytes: answer.requireNumber(Tag.diskTotal),
    diskFreeBytes: answer.requireNumber(Tag.diskFree),
    foreground: answer.requireNumber(Tag.foreground),
    background: answer.requireNumber(Tag.background),
  };
}
