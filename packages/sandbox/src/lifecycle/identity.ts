import { createHash } from 'node:crypto';

/** Host name and machine id of a sandbox's guest; they follow from its id, so that each sandbox has its own. */
export function guestIdentity(sandboxId: string): { hostname: string; guest_machine_id: string } {
  const digest = createHash('sha256').update(`holdfast guest ${sandboxId}`).digest('hex');
  return { hostname: sandboxId.replace('_', '-'), guest_machine_id: digest.slice(0, 32) };
}
