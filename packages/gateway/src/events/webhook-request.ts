import { createHmac } from 'node:crypto';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { AddressGuard } from './address-guard.ts';

/** One message as it is sent. */
export interface WebhookMessage {
  /** The same for each try, so that a receiver can tell a repetition. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  readonly payload: string;
}

const secretPrefix = 'whsec_';

/** The text of a secret, from its random bytes. */
export const webhookSecretOf = (bytes: Uint8Array): string => secretPrefix + Buffer.from(bytes).toString('base64');

/**
 * HMAC-SHA-256 over id, time and body as https://github.com/standard-webhooks/standard-webhooks has it, so that its
 * libraries verify what we send.
 */
export const signatureOf = (secret: string, { id, timestamp, payload }: WebhookMessage): string => {
  const key = Buffer.from(secret.slice(secretPrefix.length), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${payload}`).digest('base64')}`;
};

const maxMs = 10_000;

/**
 * Sends one message and resolves with the status of the answer, whose body is not read; redirects are not followed.
 * Rejects when there is none within 10 s, and with `webhook.address_refused`.
 */
export const sendWebhook = (
  target: string,
  secret: string,
  message: WebhookMessage,
  guard: AddressGuard,
  signal: AbortSignal,
): Promise<number> => {
  // Looked at again: what is allowed may have changed since the webhook was made.
  const url = guard.checkUrl(target);
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  const body = Buffer.from(message.payload);
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: 'POST',
      // No connection is kept: the next message checks the address anew.
      agent: false,
      lookup: guard.lookup,
      signal: AbortSignal.any([signal, AbortSignal.timeout(maxMs)]),
      headers: {
        'content-type': 'application/json',
        'content-length': body.byteLength,
        'user-agent': 'holdfast-webhooks',
        'webhook-id': message.id,
        'webhook-timestamp': String(message.timestamp),
        'webhook-signature': signatureOf(secret, message),
      },
    });
    request.once('error', reject);
    request.once('response', (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.end(body);
  });
};
