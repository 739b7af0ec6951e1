import type { Run } from '../command.ts';
import { checkAccelerator } from './doctor/accelerator.ts';
import type { Finding, FindingStatus } from './doctor/finding.ts';
import { checkHome } from './doctor/home.ts';
import { checkInstalled } from './doctor/programs.ts';
import { checkServices } from './doctor/services.ts';
import { checkSystem } from './doctor/system.ts';

const marks: Readonly<Record<FindingStatus, readonly [color: string, mark: string]>> = {
  ok: ['32', 'ok     '],
  warning: ['33', 'warning'],
  broken: ['31', 'BROKEN '],
  unknown: ['2', '-      '],
};

export const doctor: Run<{ probe: boolean }> = async (context, _args, { probe }) => {
  const { configuration, output } = context;
  const findings: Finding[] = [];
  findings.push(...(await checkInstalled(configuration.inherited['PATH'] ?? '')));
  findings.push(...(await checkHome(configuration.home)));
  findings.push(...(await checkSystem()));
  findings.push(...(await checkServices(configuration)));
  findings.push(
    await output.during('Booting a guest to probe the accelerator', () => checkAccelerator(configuration, probe)),
  );
  const healthy = findings.every(({ status }) => status !== 'broken');
  output.result({ healthy, findings }, () =>
    findings
      .map(({ name, status, detail, help }) => {
        const [color, mark] = marks[status];
        return `${output.paint(color, mark)}  ${name.padEnd(15)} ${detail}${help === null ? '' : `\n         -> ${help}`}`;
      })
      .join('\n'),
  );
  return healthy ? 0 : 1;
};
