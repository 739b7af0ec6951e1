import { z } from 'zod';
import { routes } from './route.ts';

export const template = z.object({
  name: z.string(),
  state: z.enum(['absent', 'building', 'ready', 'failed']),
  /** While it is being built: the step, and the fraction done from 0 to 1. */
  progress: z.object({ step: z.string(), fraction: z.number() }).nullable(),
  error: z.string().nullable(),
  /** Memory tiers that are frozen, in MiB. */
  tiersMib: z.array(z.number()),
});

export const templateRoutes = routes({
  listTemplates: {
    method: 'GET',
    path: '/api/templates',
    role: 'viewer',
    answer: 'json',
    summary: 'List the templates that sandboxes can be made of. One is built on first use.',
    response: z.object({ items: z.array(template) }),
  },
});

export type Template = z.output<typeof template>;
