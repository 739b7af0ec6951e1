import { sandboxRoutes } from '@holdfast/contract';
import type { SandboxService } from '@holdfast/sandbox';
import { bindEmpty, bindJson } from '../http/bind.ts';

/** The life of a sandbox. What reaches into one is in the files beside this. */
export const bindSandbox = (sandboxes: SandboxService) => ({
  createSandbox: bindJson(sandboxRoutes.createSandbox, ({ principal, body }) => sandboxes.create(principal, body)),
  listSandboxes: bindJson(sandboxRoutes.listSandboxes, ({ principal, query }) => sandboxes.list(principal, query)),
  getSandbox: bindJson(sandboxRoutes.getSandbox, ({ principal, params }) => sandboxes.get(principal, params.id)),
  deleteSandbox: bindEmpty(sandboxRoutes.deleteSandbox, ({ principal, params }) =>
    sandboxes.remove(principal, params.id),
  ),
  standbySandbox: bindJson(sandboxRoutes.standbySandbox, ({ principal, params, body }) =>
    sandboxes.standby(principal, params.id, body),
  ),
  resumeSandbox: bindJson(sandboxRoutes.resumeSandbox, ({ principal, params }) =>
    sandboxes.resume(principal, params.id),
  ),
  forkSandbox: bindJson(sandboxRoutes.forkSandbox, async ({ principal, params, body }) => ({
    items: await sandboxes.fork(principal, params.id, body),
  })),
  whySandbox: bindJson(sandboxRoutes.whySandbox, ({ principal, params }) => sandboxes.why(principal, params.id)),
  keepSandboxAlive: bindJson(sandboxRoutes.keepSandboxAlive, ({ principal, params, body }) =>
    sandboxes.keepAlive(principal, params.id, body),
  ),
  sandboxEvents: bindJson(sandboxRoutes.sandboxEvents, async ({ principal, params, query }) => ({
    items: await sandboxes.events(principal, params.id, query),
  })),
});
