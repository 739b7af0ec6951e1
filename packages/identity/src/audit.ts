import type { Schema } from '@holdfast/db';
import type { Kysely } from 'kysely';

export interface AuditEntry {
  readonly workspaceId: string;
  readonly keyId: string | null;
  readonly userId: string | null;
  /** `key.create`, `key.revoke`, … */
  readonly action: string;
  /** Id of what was changed. */
  readonly target: string;
  /** JSON-safe facts. Never secrets. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** Writes one entry; give the transaction of the change itself, so that there is never one without the other. */
export const audit = async (db: Kysely<Schema>, at: Date, entry: AuditEntry): Promise<void> => {
  await db
    .insertInto('audit_log')
    .values({
      workspace_id: entry.workspaceId,
      at,
      key_id: entry.keyId,
      user_id: entry.userId,
      action: entry.action,
      target: entry.target,
      details: JSON.stringify(entry.details),
    })
    .execute();
};
