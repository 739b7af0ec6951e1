import { templateRoutes } from '@holdfast/contract';
import type { SandboxLayer } from '@holdfast/sandbox';
import { bindJson } from '../http/bind.ts';

export const bindTemplates = ({ templates }: SandboxLayer) => ({
  listTemplates: bindJson(templateRoutes.listTemplates, async () => {
    const items = await Promise.all(templates.names().map((name) => templates.status(name)));
    return { items: items.map((item) => ({ ...item, tiersMib: [...item.tiersMib] })) };
  }),
});
