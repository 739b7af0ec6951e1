import { gatewayRoutes } from './gateway.ts';
import { gatewayAdminRoutes } from './gateway-admin.ts';
import { gatewayControlRoutes } from './gateway-control.ts';
import { identityRoutes } from './identity.ts';
import type { Route } from './route.ts';
import { sandboxRoutes } from './sandbox.ts';
import { templateRoutes } from './template.ts';
import { traceRoutes } from './trace.ts';

/** Every route there is. The server binds all of them, or does not start. */
export const allRoutes = {
  ...identityRoutes,
  ...sandboxRoutes,
  ...templateRoutes,
  ...gatewayRoutes,
  ...gatewayAdminRoutes,
  ...gatewayControlRoutes,
  ...traceRoutes,
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof allRoutes;
