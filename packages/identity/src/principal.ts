import type { KeyRole } from '@holdfast/contract';

/** Who makes a request. Every query is scoped by its `workspaceId`. */
export interface Principal {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly userId: string | null;
  readonly role: KeyRole;
}

const rank: Readonly<Record<KeyRole, number>> = { viewer: 0, developer: 1, owner: 2 };

/** True when `role` includes everything that `needed` allows. */
export const includesRole = (role: KeyRole, needed: KeyRole): boolean => rank[role] >= rank[needed];
