import { type Clock, systemClock } from './clock.ts';

/** One prefix for each kind of thing; an id says what it names. */
export const idPrefixes = [
  'ws', // workspace
  'usr', // user
  'key', // API key
  'aud', // audit entry
  'sbx', // sandbox
  'snp', // snapshot
  'dsk', // disk layer
  'ram', // RAM layer
  'mch', // machine: one QEMU process
  'tpl', // template
  'vol', // volume
  'hst', // host
  'run', // run
  'agt', // agent
  'evt', // event
  'req', // request
  'prv', // provider
  'pky', // secrets of a provider
  'rte', // model route
  'mdl', // model call
  'bgt', // budget
  'prc', // price override
  'gwp', // gateway process
  'trc', // trace
  'team', // team
  'whk', // webhook
  'kil', // kill switch
  'hld', // amount held for a call of a run
] as const;
export type IdPrefix = (typeof idPrefixes)[number];

export type RandomBytes = (length: number) => Uint8Array;

const poolBytes = 4_096;
let pool = new Uint8Array(0);
let used = 0;

/** Random bytes of the system, fetched many at a time: asking for a few costs as much as asking for thousands. */
export const systemRandom: RandomBytes = (length) => {
  if (length > poolBytes / 8) return crypto.getRandomValues(new Uint8Array(length));
  if (used + length > pool.length) {
    pool = crypto.getRandomValues(new Uint8Array(poolBytes));
    used = 0;
  }
  const bytes = pool.slice(used, used + length);
  // What was given out may have become a key, and is not kept here as well.
  pool.fill(0, used, used + length);
  used += length;
  return bytes;
};

/** Crockford's base32 in lower case: sorts like the number it writes, and leaves out i, l, o and u. */
export const base32Alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** Text of `bytes`, five bits a character, the last one padded with zeros. */
export const base32 = (bytes: Uint8Array): string => {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += base32Alphabet.charAt((value >>> bits) & 31);
    }
    value &= (1 << bits) - 1;
  }
  if (bits > 0) text += base32Alphabet.charAt((value << (5 - bits)) & 31);
  return text;
};

const timeLength = 10;
const randomLength = 16;

/**
 * A new id such as `sbx_01k9v3q2m8x7d4f6g8h0j2k4m6`: ten characters of milliseconds since 1970, so that ids sort by
 * time, then 80 random bits.
 */
export const newId = (prefix: IdPrefix, clock: Clock = systemClock, random: RandomBytes = systemRandom): string => {
  let time = '';
  let rest = Math.trunc(clock.now());
  for (let i = 0; i < timeLength; i += 1) {
    time = base32Alphabet.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${time}${base32(random((randomLength * 5) / 8))}`;
};

const tail = new RegExp(`^[${base32Alphabet}]{${timeLength + randomLength}}$`);

/** True when `text` has the form of an id of that kind. */
export const isId = (prefix: IdPrefix, text: string): boolean =>
  text.startsWith(`${prefix}_`) && tail.test(text.slice(prefix.length + 1));
