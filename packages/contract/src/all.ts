import { identityRoutes } from './identity.ts';
import type { Route } from './route.ts';
import { sandboxRoutes } from './sandbox.ts';

/** Every route there is. The server binds all of them, or does not start. */
export const allRoutes = { ...identityRoutes, ...sandboxRoutes } as const satisfies Record<string, Route>;

export type RouteName = keyof typeof allRoutes;
