import type { KeyRole } from '@holdfast/contract';

/** Who makes a request. Every query is scoped by its `workspaceId`. */
export interface Principal {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly userId: string | null;
  readonly role: KeyRole;
  /** What a virtual key is bound to, on top of its workspace and user; null or absent: not bound. */
  readonly teamId?: string | null;
  readonly agentId?: string | null;
  readonly runId?: string | null;
  /** Model routes and models that the key may ask for; null or absent: any. */
  readonly modelRoutes?: readonly string[] | null;
}

const rank: Readonly<Record<KeyRole, number>> = { viewer: 0, developer: 1, owner: 2 };

/** True when `role` includes everything that `needed` allows. */
export const includesRole = (role: KeyRole, needed: KeyRole): boolean => rank[role] >= rank[needed];

/** True when the key may ask for this model route or model. A name that ends in `*` allows all that begin like it. */
export const mayUseModel = ({ modelRoutes }: Principal, model: string): boolean =>
  modelRoutes === null ||
  modelRoutes === undefined ||
  modelRoutes.some((name) => (name.endsWith('*') ? model.startsWith(name.slice(0, -1)) : name === model));
