import { gatewayRoutes } from '@holdfast/contract';
import type { Gateway } from '@holdfast/gateway';
import { bindFetch } from '../http/bind.ts';

/** Calls of models: the gateway reads and answers in the provider's own format. */
export const bindModels = (gateway: Gateway) => ({
  chatCompletions: bindFetch(gatewayRoutes.chatCompletions, (request, { principal }) =>
    gateway.handler(request, principal),
  ),
  listModels: bindFetch(gatewayRoutes.listModels, (request, { principal }) => gateway.handler(request, principal)),
});
