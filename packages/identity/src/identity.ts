import type { Workspace } from '@holdfast/contract';
import { type Clock, type Log, type RandomBytes, type Secret, systemRandom } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { Agents } from './agents.ts';
import { Authenticator } from './authenticator.ts';
import { ensureWorkspace, issueOwnerKey } from './bootstrap.ts';
import { Keys } from './keys.ts';
import type { Principal } from './principal.ts';
import { Teams } from './teams.ts';
import { Users } from './users.ts';
import { getWorkspace } from './workspaces.ts';

export interface Identity {
  /** Errors: `auth.missing`, `auth.invalid`. */
  authenticate(key: string | null): Promise<Principal>;
  readonly keys: Keys;
  readonly teams: Teams;
  readonly agents: Agents;
  readonly users: Users;
  getWorkspace(by: Principal, idOrName: string): Promise<Workspace>;
  /** A new owner key of a workspace, `default` unless told, which is made when it is missing. */
  issueOwnerKey(name: string, workspace?: string): Promise<Secret>;
  close(): Promise<void>;
}

export interface IdentityOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: RandomBytes;
}

/** Opens workspaces, users, keys and the audit log on a migrated database; makes the workspace `default`. */
export const openIdentity = async (o: IdentityOptions): Promise<Identity> => {
  const { database, clock, log, random = systemRandom } = o;
  await ensureWorkspace(database, clock);
  const authenticator = new Authenticator(database, clock, log);
  return {
    authenticate: (key) => authenticator.authenticate(key),
    keys: new Keys(database, authenticator, clock, random),
    teams: new Teams(database, clock),
    agents: new Agents(database, clock),
    users: new Users(database, clock),
    getWorkspace: (by, idOrName) => getWorkspace(database, by, idOrName),
    issueOwnerKey: async (name, workspace) => {
      const owner = await ensureWorkspace(database, clock, workspace);
      return issueOwnerKey(database, clock, random, { ...owner, name });
    },
    close: () => authenticator.close(),
  };
};
