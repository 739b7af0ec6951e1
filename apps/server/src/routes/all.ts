import { allRoutes, type RouteName } from '@holdfast/contract';
import type { Clock } from '@holdfast/core';
import type { Bound } from '../http/bind.ts';
import type { Layers } from '../layers.ts';
import { bindExec } from './exec.ts';
import { bindFiles } from './files.ts';
import { bindGatewayAdmin } from './gateway-admin.ts';
import { bindGatewayControl } from './gateway-control.ts';
import { bindIdentity } from './identity.ts';
import { bindModels } from './model.ts';
import { bindProcesses } from './processes.ts';
import { bindSandbox } from './sandbox.ts';
import { bindStreams } from './streams.ts';
import { bindTemplates } from './template.ts';
import { bindTraces } from './trace.ts';

/** Every route of the contract with its handler; the compiler sees to it that none is missing. */
export const bindAll = (layers: Layers, clock: Clock): Record<RouteName, Bound> => {
  const sandboxes = layers.sandboxes.service;
  const bounds: Record<RouteName, Bound> = {
    ...bindIdentity(layers.identity),
    ...bindSandbox(sandboxes),
    ...bindExec(sandboxes, clock),
    ...bindProcesses(sandboxes),
    ...bindFiles(sandboxes),
    ...bindStreams(sandboxes, clock),
    ...bindTemplates(layers.sandboxes),
    ...bindModels(layers.gateway),
    ...bindGatewayAdmin(layers.gateway, layers.identity),
    ...bindGatewayControl(layers.gateway, clock),
    ...bindTraces(layers.observability),
  };
  for (const [name, bound] of Object.entries(bounds)) {
    const route = Object.entries(allRoutes).find(([known]) => known === name)?.[1];
    if (route !== bound.route) throw new TypeError(`the handler of ${name} is bound to another route`);
  }
  return bounds;
};
