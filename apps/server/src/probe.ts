/**
 * `node apps/server/src/probe.ts --json`: finds out by booting a guest which accelerator works here, and prints the
 * report as one JSON document. It needs no running server and takes no lock.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@holdfast/core';
import { TemplateStore } from '@holdfast/sandbox';
import { readConfig } from './config.ts';
import { asHoldfastError, problemText } from './http/failure.ts';
import { sandboxSettings } from './sandbox-settings.ts';

try {
  const config = readConfig(process.env);
  const settings = sandboxSettings(config);
  const folder = join(config.home, 'sandboxes');
  const folders = { templates: settings.templatesFolder ?? join(folder, 'templates'), run: join(folder, 'run') };
  for (const path of Object.values(folders)) await mkdir(path, { recursive: true, mode: 0o755 });
  const templates = new TemplateStore({
    folder: folders.templates,
    machines: { folder: folders.run, runtime: folders.run },
    sources: settings.sources,
    nodePath: settings.nodePath,
    marker: 'holdfast-probe',
    uid: settings.firstUid - 1,
    random: systemRandom,
    now: () => systemClock.monotonic(),
  });
  process.stdout.write(`${JSON.stringify(await templates.probe())}\n`);
} catch (error) {
  process.stderr.write(`${problemText(asHoldfastError(error), null)}\n`);
  process.exit(1);
}
