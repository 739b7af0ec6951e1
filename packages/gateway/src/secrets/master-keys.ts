import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { HoldfastError, type Secret } from '@holdfast/core';

/** AES-256 in GCM: https://doi.org/10.6028/NIST.SP.800-38D, with 96-bit random nonces and 128-bit tags. */
const cipherName = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const maxKeys = 16;

/** Encrypts under a key; the answer is nonce, tag and ciphertext in one. */
export const sealBytes = (key: Uint8Array, plain: Uint8Array, associated: string): Buffer => {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(cipherName, key, nonce);
  cipher.setAAD(Buffer.from(associated));
  const text = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), text]);
};

/** Throws `gateway.secret_unreadable` for anything that `sealBytes` did not make of this key and associated data. */
export const openBytes = (key: Uint8Array, sealed: Uint8Array, associated: string): Buffer => {
  try {
    const decipher = createDecipheriv(cipherName, key, sealed.subarray(0, nonceBytes), { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(associated));
    decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
    return Buffer.concat([decipher.update(sealed.subarray(nonceBytes + tagBytes)), decipher.final()]);
  } catch {
    throw new HoldfastError('gateway.secret_unreadable', 'A stored secret does not open with its master key.');
  }
};

interface MasterKey {
  readonly id: string;
  readonly key: Buffer;
}

const masterKeyOf = (text: string): MasterKey => {
  const key = Buffer.from(text, 'base64');
  if (key.length !== keyBytes)
    throw new HoldfastError('config.invalid', `A master key must be ${keyBytes} bytes in base64.`);
  // A name for it that says nothing about it.
  const id = createHash('sha256').update('holdfast master key\0').update(key).digest('hex').slice(0, 16);
  return { id, key };
};

const parse = (text: string): MasterKey[] => {
  const lines = text.split(/[\s,]+/).filter((line) => line !== '');
  if (lines.length === 0 || lines.length > maxKeys)
    throw new HoldfastError('config.invalid', `There must be 1 to ${maxKeys} master keys, the current one first.`);
  return lines.map(masterKeyOf);
};

const writeKeys = async (path: string, keys: readonly MasterKey[]): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(`${keys.map(({ key }) => key.toString('base64')).join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
};

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** The keys that seal data keys: the first one seals, all of them open. */
export class MasterKeys {
  #keys: readonly MasterKey[];
  readonly #path: string | null;

  private constructor(keys: readonly MasterKey[], path: string | null) {
    this.#keys = keys;
    this.#path = path;
  }

  /** Keys in base64, separated by commas or white space. Errors: `config.invalid`. */
  static fromSecret(secret: Secret): MasterKeys {
    return new MasterKeys(parse(secret.reveal()), null);
  }

  /** The keys of a file that only the server's user reads; makes it with a new key when there is none. Errors: `config.invalid`. */
  static async fromFile(path: string): Promise<MasterKeys> {
    try {
      return new MasterKeys(parse(await readFile(path, 'utf8')), path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    const keys = [masterKeyOf(randomBytes(keyBytes).toString('base64'))];
    await writeKeys(path, keys);
    return new MasterKeys(keys, path);
  }

  get currentId(): string {
    return this.#current.id;
  }

  seal(plain: Uint8Array, associated: string): { readonly keyId: string; readonly sealed: Buffer } {
    const { id, key } = this.#current;
    return { keyId: id, sealed: sealBytes(key, plain, `${id}\0${associated}`) };
  }

  /** Errors: `gateway.secret_unreadable`, also when the key of that id is not here. */
  open(keyId: string, sealed: Uint8Array, associated: string): Buffer {
    const found = this.#keys.find(({ id }) => id === keyId);
    if (found === undefined)
      throw new HoldfastError('gateway.secret_unreadable', 'The master key of a stored secret is not here.', { keyId });
    return openBytes(found.key, sealed, `${keyId}\0${associated}`);
  }

  /** Puts a new key first. Keys of the environment are rotated there: then this changes nothing. */
  async addCurrent(): Promise<void> {
    if (this.#path === null) return;
    const keys = [masterKeyOf(randomBytes(keyBytes).toString('base64')), ...this.#keys].slice(0, maxKeys);
    await writeKeys(this.#path, keys);
    this.#keys = keys;
  }

  get #current(): MasterKey {
    const [first] = this.#keys;
    if (first === undefined) throw new HoldfastError('config.invalid', 'There is no master key.');
    return first;
  }
}
