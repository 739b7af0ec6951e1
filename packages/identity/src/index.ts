export { type AuditEntry, audit } from './audit.ts';
export { type Identity, type IdentityOptions, openIdentity } from './identity.ts';
export type { Keys, NewKey } from './keys.ts';
export { memberId } from './member-rules.ts';
export { includesRole, mayUseModel, type Principal } from './principal.ts';
