import { spawn } from 'node:child_process';

/** Of a tool's output the end is kept, for it says what failed. */
const keptChars = 400_000;

export interface ToolRun {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds after which it is killed with all that it started. */
  readonly deadlineMs: number;
  /** Gets each whole line of standard output instead of `output`. */
  readonly onLine?: (line: string) => void;
}

export interface ToolResult {
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  /** The end of standard error, and of standard output where no `onLine` took it. */
  readonly output: string;
}

const groupSignal = (pid: number | undefined, signal: NodeJS.Signals): void => {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The whole group is gone already.
  }
};

/** Runs one of the project's tools with this Node in a process group of its own, which ends with it. */
export const runTool = ({ args, cwd, env, deadlineMs, onLine }: ToolRun): Promise<ToolResult> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let rest = '';
    let timedOut = false;
    const keep = (text: string) => {
      output = (output + text).slice(-keptChars);
    };
    const split = (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', onLine === undefined ? keep : split);
    child.stderr.setEncoding('utf8').on('data', keep);

    const interrupt = (signal: NodeJS.Signals) => {
      groupSignal(child.pid, signal);
      process.exitCode = 130;
    };
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
    const timer = setTimeout(() => {
      timedOut = true;
      groupSignal(child.pid, 'SIGKILL');
    }, deadlineMs);
    const settle = () => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('close', (exitCode) => {
      settle();
      if (rest !== '') onLine?.(rest);
      resolve({ exitCode, timedOut, output });
    });
  });
