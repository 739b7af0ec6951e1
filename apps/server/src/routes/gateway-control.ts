import { gatewayControlRoutes as routes } from '@holdfast/contract';
import type { Clock } from '@holdfast/core';
import { type Gateway, GatewayControl } from '@holdfast/gateway';
import { bindEmpty, bindEvents, bindJson } from '../http/bind.ts';

/** Usage, runs, caps, kill switches, events and webhooks. */
export const bindGatewayControl = (gateway: Gateway, clock: Clock) => {
  const control = new GatewayControl(gateway);
  return {
    gatewayUsage: bindJson(routes.gatewayUsage, ({ principal, query }) =>
      control.usage(principal, { ...query, since: query.since, until: query.until }),
    ),
    listAttempts: bindJson(routes.listAttempts, ({ principal, query }) =>
      control.attempts(principal, { limit: query.limit, cursor: query.cursor, run: query.run }),
    ),
    listRuns: bindJson(routes.listRuns, async ({ principal, query }) => ({
      items: await control.runs(principal, query.limit),
    })),
    putCaps: bindJson(routes.putCaps, ({ principal, body: { subject, subjectId, ...caps } }) =>
      control.putCaps(principal, subject, subjectId, caps),
    ),
    listCaps: bindJson(routes.listCaps, async ({ principal, query }) => ({
      items: await control.listCaps(principal, query.limit),
    })),
    removeCaps: bindEmpty(routes.removeCaps, ({ principal, params }) =>
      control.removeCaps(principal, params.subject, params.id),
    ),
    setKill: bindJson(routes.setKill, ({ principal, body }) =>
      control.setKill(principal, body.subject, body.subjectId, body.reason),
    ),
    listKills: bindJson(routes.listKills, async ({ principal, query }) => ({
      items: await control.listKills(principal, query),
    })),
    liftKill: bindEmpty(routes.liftKill, ({ principal, params }) => control.liftKill(principal, params.id)),
    listGatewayEvents: bindJson(routes.listGatewayEvents, async ({ principal, query }) => ({
      items: await control.events(principal, { after: query.after, types: query.types, limit: query.limit }),
    })),
    tailGateway: bindEvents(routes.tailGateway, clock, async ({ principal, query, signal }, out) => {
      out.begin();
      for await (const item of control.tail(principal, query, signal)) await out.send(item);
    }),
    createWebhook: bindJson(routes.createWebhook, ({ principal, body }) =>
      control.createWebhook(principal, body.url, body.types),
    ),
    listWebhooks: bindJson(routes.listWebhooks, async ({ principal }) => ({
      items: await control.listWebhooks(principal),
    })),
    removeWebhook: bindEmpty(routes.removeWebhook, ({ principal, params }) =>
      control.removeWebhook(principal, params.id),
    ),
    testWebhook: bindJson(routes.testWebhook, async ({ principal, params }) => ({
      deliveryId: await control.testWebhook(principal, params.id),
    })),
    listDeliveries: bindJson(routes.listDeliveries, async ({ principal, params, query }) => ({
      items: await control.deliveries(principal, params.id, query.limit),
    })),
  };
};
