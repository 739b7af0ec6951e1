import { HoldfastError, type Secret } from '@holdfast/core';

/** The secret to send. Throws `gateway.provider_refused` for a provider that was never given one. */
export const required = (secret: Secret | undefined, provider: string): string => {
  if (secret === undefined)
    throw new HoldfastError('gateway.provider_refused', `${provider} has no key yet.`, { provider });
  return secret.reveal();
};
