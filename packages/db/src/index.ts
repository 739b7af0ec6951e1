export * from './database.ts';
export { databaseError, isConnectionLoss } from './loss.ts';
export { type Migration, readMigrations } from './migrate.ts';
export type { NotificationHandler } from './notifications.ts';
export { type ProcessLock, tryLock } from './process-lock.ts';
export type * from './schema.ts';
