import { Tag } from './tags.ts';
import type { Fields } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

/** What a process used; zero where the guest's kernel does not count it. */
export interface GuestUsage {
  readonly timedOut: boolean;
  /** Processes of its cgroup that the kernel killed for memory. */
  readonly oomKills: number;
  /** Fork to exit, measured by the agent. */
  readonly elapsedNs: bigint;
  readonly cpuUserUs: number;
  readonly cpuSystemUs: number;
  readonly memoryPeakBytes: number;
  readonly throttledUs: number;
}

/** How a process ended: one of `exitCode` and `signal` is set. */
export interface GuestExit extends GuestUsage {
  readonly exitCode: number | null;
  readonly signal: number | null;
}

export interface ExitStatus {
  readonly exitCode: number | null;
  readonly signal: number | null;
}

export function parseUsage(fields: Fields): GuestUsage {
  return {
    timedOut: fields.flag(Tag.timedOut),
    oomKills: fields.number(Tag.oomKills) ?? 0,
    elapsedNs: fields.u64(Tag.elapsedNs) ?? 0n,
    cpuUserUs: fields.number(Tag.cpuUserUs) ?? 0,
    cpuSystemUs: fields.number(Tag.cpuSystemUs) ?? 0,
    memoryPeakBytes: fields.number(Tag.memoryPeak) ?? 0,
    throttledUs: fields.number(Tag.throttledUs) ?? 0,
  };
}

/** Both are null while a process runs. */
export function parseStatus(fields: Fields): ExitStatus {
  const exitCode = fields.number(Tag.exitCode, 255);
  const signal = fields.number(Tag.signal, 64);
  if (exitCode !== null && signal !== null) throw new ProtocolViolation('a process ended in two ways');
  return { exitCode, signal };
}

export function parseExit(fields: Fields): GuestExit {
  const status = parseStatus(fields);
  if (status.exitCode === null && status.signal === null) throw new ProtocolViolation('a process ended in no way');
  return { ...status, ...parseUsage(fields) };
}
