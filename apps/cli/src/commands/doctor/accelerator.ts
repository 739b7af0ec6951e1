import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type Configuration, checkout } from '../../configuration.ts';
import { runTool } from '../../tool.ts';
import { type Finding, ok, unknown, warning } from './finding.ts';

const program = 'apps/server/src/probe.ts';
/** The first probe prepares a guest to boot. */
const deadlineMs = 600_000;

const probed = z.object({
  accelerator: z.enum(['kvm', 'tcg']),
  reason: z.string(),
  /** Milliseconds until the guest had booted. */
  bootMs: z.number().optional(),
  probeMs: z.number().optional(),
});

/** Said once and clearly, after QEMU's own policy: https://www.qemu.org/docs/master/system/security.html */
const emulationNotice =
  'Isolation is not a supported security boundary under software emulation: do not run hostile code on this machine.';

/** Boots a guest to find out which accelerator works; the presence of /dev/kvm does not tell. */
export const checkAccelerator = async (configuration: Configuration, probe: boolean): Promise<Finding> => {
  if (!probe) return unknown('accelerator', 'not probed');
  if (!existsSync(join(checkout, program))) return unknown('accelerator', 'not probed: this version has no probe');
  let printed = '';
  const result = await runTool({
    args: [program, '--json'],
    cwd: checkout,
    env: { ...configuration.inherited, HOLDFAST_HOME: configuration.home },
    deadlineMs,
    onLine: (line) => {
      printed = (printed + line).slice(-65_536);
    },
  });
  let document: unknown = null;
  try {
    document = JSON.parse(printed);
  } catch {
    // Told below, with what the probe said instead.
  }
  const parsed = probed.safeParse(document);
  if (!parsed.success) {
    const said = result.output.trim().split('\n').at(-1) ?? '';
    return unknown('accelerator', `not probed: the probe ended with ${result.exitCode ?? 'a signal'} ${said}`.trim());
  }
  const { accelerator, reason, probeMs, bootMs = probeMs } = parsed.data;
  const boot = bootMs === undefined ? '' : `, a guest boots in ${Math.round(bootMs)} ms`;
  if (accelerator === 'kvm') return ok('accelerator', `KVM${boot}`);
  return warning('accelerator', `software emulation (TCG)${boot}: ${reason}`, emulationNotice);
};
