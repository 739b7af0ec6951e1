import { lookup as resolve } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { HoldfastError } from '@holdfast/core';

/**
 * Addresses that a server must not be made to call by whoever may set a URL: its own, its network's, the cloud's
 * metadata service, and those that reach such ones by another notation.
 * https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
 */
const special4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];
const special6 = [
  '::/96',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

const listOf = (ranges: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.split('/');
    const version = isIP(address);
    const length = Number(bits ?? (version === 4 ? 32 : 128));
    if (version === 0 || !Number.isInteger(length) || length < 0 || length > (version === 4 ? 32 : 128))
      throw new HoldfastError('config.invalid', `"${range.slice(0, 64)}" is no range of addresses.`, { range });
    list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
};

const refusal = (host: string): HoldfastError =>
  new HoldfastError('webhook.address_refused', `${host.slice(0, 128)} is not a public address.`, {
    host: host.slice(0, 255),
  });

/** Tells which addresses may be called, and looks names up so that only such ones come out. */
export class AddressGuard {
  readonly #refused4 = listOf(special4);
  readonly #refused6 = listOf(special6);
  readonly #allowed: BlockList;

  /** `allowed` are ranges such as `10.1.0.0/16` or single addresses. Errors: `config.invalid`. */
  constructor(allowed: readonly string[]) {
    this.#allowed = listOf(allowed);
  }

  permits(address: string): boolean {
    const version = isIP(address);
    if (version === 0) return false;
    const family = version === 4 ? 'ipv4' : 'ipv6';
    if (this.#allowed.check(address, family)) return true;
    return !(version === 4 ? this.#refused4 : this.#refused6).check(address, family);
  }

  /** What can be said of a URL before its name is looked up. Errors: `webhook.address_refused`, `request.invalid`. */
  checkUrl(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:'))
      throw new HoldfastError('request.invalid', 'A webhook needs an http or https URL.', { field: 'url' });
    if (url.username !== '' || url.password !== '')
      throw new HoldfastError('request.invalid', 'A webhook’s URL has no user and password.', { field: 'url' });
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !this.permits(host)) throw refusal(host);
    return url;
  }

  /**
   * For the `lookup` of a connection: the address that was checked is the one that is connected to, so a name cannot
   * mean something else in between. A name with one address that is refused is refused as a whole.
   */
  readonly lookup: LookupFunction = (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, []);
        return;
      }
      const first = addresses[0];
      if (first === undefined || addresses.some(({ address }) => !this.permits(address))) {
        callback(refusal(host), []);
        return;
      }
      if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
