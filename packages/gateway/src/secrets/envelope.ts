import { randomBytes } from 'node:crypto';
import { HoldfastError, Secret } from '@holdfast/core';
import { type MasterKeys, openBytes, sealBytes } from './master-keys.ts';

/** A secret under a data key of its own, and that one under a master key. */
export interface Envelope {
  readonly masterKeyId: string;
  readonly sealedDataKey: Buffer;
  readonly sealedSecret: Buffer;
}

/** `associated` says whose secret it is, such as ids of its row: it opens with the very same text only. */
export const sealSecret = (master: MasterKeys, secret: Secret, associated: string): Envelope => {
  const dataKey = randomBytes(32);
  const { keyId, sealed } = master.seal(dataKey, associated);
  return {
    masterKeyId: keyId,
    sealedDataKey: sealed,
    sealedSecret: sealBytes(dataKey, Buffer.from(secret.reveal()), `${keyId}\0${associated}`),
  };
};

/** Errors: `gateway.secret_unreadable`. */
export const openSecret = (master: MasterKeys, envelope: Envelope, associated: string): Secret => {
  const { masterKeyId, sealedDataKey, sealedSecret } = envelope;
  const dataKey = master.open(masterKeyId, sealedDataKey, associated);
  return new Secret(openBytes(dataKey, sealedSecret, `${masterKeyId}\0${associated}`).toString());
};

/** The same secret in an envelope of the current master key. */
export const resealSecret = (master: MasterKeys, envelope: Envelope, associated: string): Envelope =>
  sealSecret(master, openSecret(master, envelope, associated), associated);

/** An envelope as one word, for a text column. */
export const sealText = (master: MasterKeys, secret: Secret, associated: string): string => {
  const { masterKeyId, sealedDataKey, sealedSecret } = sealSecret(master, secret, associated);
  return `v1.${masterKeyId}.${sealedDataKey.toString('base64url')}.${sealedSecret.toString('base64url')}`;
};

/** Errors: `gateway.secret_unreadable`. */
export const openText = (master: MasterKeys, text: string, associated: string): Secret => {
  const [version, masterKeyId, sealedDataKey, sealedSecret, ...more] = text.split('.');
  if (version !== 'v1' || masterKeyId === undefined || sealedDataKey === undefined || sealedSecret === undefined)
    throw new HoldfastError('gateway.secret_unreadable', 'A stored secret has no known form.');
  if (more.length > 0) throw new HoldfastError('gateway.secret_unreadable', 'A stored secret has no known form.');
  const envelope = {
    masterKeyId,
    sealedDataKey: Buffer.from(sealedDataKey, 'base64url'),
    sealedSecret: Buffer.from(sealedSecret, 'base64url'),
  };
  return openSecret(master, envelope, associated);
};
