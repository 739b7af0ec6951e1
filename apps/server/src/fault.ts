/**
 * For the tests that prove recovery: the process kills itself with SIGKILL when it reaches that point for the n-th time
 * (`name` or `name:n`). Nothing can be cleaned up then, as in a power cut of this process alone.
 */
export const faultPoint = (killAt: string | null): ((point: string) => void) => {
  if (killAt === null) return () => undefined;
  const [name = '', count = '1'] = killAt.split(':');
  let left = Number(count);
  return (point) => {
    if (point !== name) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
};
