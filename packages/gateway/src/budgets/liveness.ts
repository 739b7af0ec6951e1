import { readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';

/** How a process can be recognised by others on the same machine. */
export interface ProcessMark {
  /** One running kernel and one numbering of processes in it; empty where that cannot be told. */
  readonly place: string;
  readonly pid: number;
  /** When it started, in ticks since the kernel did: numbers of processes are used again. */
  readonly born: string;
}

/** Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); null when there is no such process. */
const bornAt = (pid: number): string | null => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may have spaces and parentheses in it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie writes nothing any more.
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
};

const placeOf = (): string => {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
};

export const ownMark = (): ProcessMark => {
  const born = bornAt(process.pid);
  return { place: born === null ? '' : placeOf(), pid: process.pid, born: born ?? '' };
};

/** True when the process certainly ended: it was on this machine and is not there any more. */
export const hasEnded = (own: ProcessMark, other: ProcessMark): boolean =>
  own.place !== '' && own.place === other.place && bornAt(other.pid) !== other.born;
