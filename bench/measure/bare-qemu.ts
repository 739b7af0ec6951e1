import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Starts `qemu-system-x86_64 -S` with `more` arguments, waits for its first answer on QMP, and ends it. Gives the milliseconds from
 * spawn to answer: the floor for anything that has to start a machine.
 */
export async function timeBareQemu(more: readonly string[] = []): Promise<number> {
  const began = performance.now();
  const child = spawn('qemu-system-x86_64', ['-S', '-display', 'none', '-qmp', 'stdio', ...more], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.write('{"execute":"qmp_capabilities"}\n');
  let heard = '';
  for await (const chunk of child.stdout) {
    heard += String(chunk);
    if (heard.includes('"return"')) break;
  }
  const elapsedMs = performance.now() - began;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  return elapsedMs;
}
