import { HoldfastError } from '@holdfast/core';
import type { ProviderKind } from '../providers/provider.ts';
import { AttemptFailure } from './attempt-failure.ts';

/**
 * What becomes of an answer whose caller has gone. `cancel`: the connection is closed, with which these providers stop
 * generating, and what they had generated is estimated. `drain`: the provider goes on and bills all of it whether somebody
 * reads or not, so that reading to the end costs nothing more and tells the true figures.
 */
export const afterDisconnection: Readonly<Record<ProviderKind, 'cancel' | 'drain'>> = {
  openai: 'cancel',
  'openai-compatible': 'cancel',
  anthropic: 'cancel',
  recorded: 'cancel',
  azure: 'drain',
  bedrock: 'drain',
  gemini: 'drain',
};

export const callerGone = (): AttemptFailure =>
  new AttemptFailure({
    errorClass: 'client_disconnected',
    error: new HoldfastError('request.aborted', 'The caller went away.'),
    failover: false,
  });

export const gatewayClosed = (): AttemptFailure =>
  new AttemptFailure({ errorClass: 'gateway_closed', error: new HoldfastError('gateway.closed'), failover: false });

export const killed = (error: HoldfastError): AttemptFailure =>
  new AttemptFailure({ errorClass: 'killed', error, failover: false });

/** The deadline of the whole call is over. */
export const tooLate = (provider: string, deadlineMs: number): AttemptFailure =>
  new AttemptFailure({
    errorClass: 'timeout',
    error: new HoldfastError('gateway.provider_timeout', `There was no answer within ${deadlineMs} ms.`, {
      provider,
      deadlineMs,
    }),
    failover: false,
    targetAtFault: true,
  });
