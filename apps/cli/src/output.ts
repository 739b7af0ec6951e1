import { printable, textWidth } from '@holdfast/contract';

export interface OutputOptions {
  readonly json: boolean;
  readonly color: boolean;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

export type Cell = string | number | null;

/** Bytes for people: `0 B`, `4.0 KiB`, `1.5 GiB`. */
export const formatBytes = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
};

/** Time since `iso` in its largest unit: `12s`, `5m`, `3h`, `9d`. */
export const formatAge = (iso: string, nowMs: number): string => {
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(iso)) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
};

/** A table of plain text, columns two spaces apart; numbers are aligned to the right. Cells are made `printable`. */
export const formatTable = (head: readonly string[], rows: readonly (readonly Cell[])[]): string => {
  const text = rows.map((row) => row.map((cell) => (cell === null ? '-' : printable(String(cell)))));
  const widths = head.map((title, i) => Math.max(textWidth(title), ...text.map((row) => textWidth(row[i] ?? ''))));
  const line = (cells: readonly string[], from?: readonly Cell[]) =>
    cells
      .map((cell, i) => {
        const space = ' '.repeat(Math.max(0, (widths[i] ?? 0) - textWidth(cell)));
        return typeof from?.[i] === 'number' ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  return `${[line(head), ...text.map((row, i) => line(row, rows[i]))].join('\n')}\n`;
};

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const frameMs = 100;
const barCells = 30;

/** What goes on, and how much of it is done from 0 to 1. */
export interface Progress {
  readonly step: string;
  readonly fraction: number;
}

/** Where a command's result goes: a person's text or one JSON document on stdout, everything else on stderr. */
export class Output {
  readonly json: boolean;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly #color: boolean;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.stdout = options.stdout;
    this.stderr = options.stderr;
    this.#color = options.color;
  }

  /** The one result: `document` with --json, else what `text` makes of it. */
  result<T>(document: T, text: (document: T) => string): void {
    if (this.json) this.stdout.write(`${JSON.stringify(document)}\n`);
    else {
      const shown = text(document);
      if (shown !== '') this.stdout.write(shown.endsWith('\n') ? shown : `${shown}\n`);
    }
  }

  /** A line for people about what goes on; nothing with --json. */
  note(text: string): void {
    if (!this.json) this.stderr.write(`${text}\n`);
  }

  get colorful(): boolean {
    return this.#color && this.stdout.isTTY === true && !this.json;
  }

  paint(code: string, text: string): string {
    return this.colorful ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  get columns(): number {
    return this.stdout.isTTY === true ? this.stdout.columns : 120;
  }

  /** Shows on a terminal that `task` goes on, and for how long. Without a terminal it shows nothing. */
  async during<T>(title: string, task: () => Promise<T>): Promise<T> {
    if (this.stderr.isTTY !== true || this.json) return task();
    const begun = performance.now();
    let frame = 0;
    const timer = setInterval(() => {
      const seconds = Math.floor((performance.now() - begun) / 1000);
      this.stderr.write(`\r\u001b[K${frames[frame % frames.length]} ${title}${seconds > 0 ? ` (${seconds} s)` : ''}`);
      frame += 1;
    }, frameMs);
    try {
      return await task();
    } finally {
      clearInterval(timer);
      this.stderr.write('\r\u001b[K');
    }
  }

  /** Shows a bar for `title` on a terminal, a line for each new step elsewhere, nothing with --json. */
  async *progress(title: string, reports: AsyncIterable<Progress>): AsyncGenerator<Progress> {
    let last = '';
    const drawn = this.stderr.isTTY === true && !this.json;
    try {
      for await (const report of reports) {
        const percent = `${Math.floor(report.fraction * 100)} %`;
        const cells = Math.round(report.fraction * barCells);
        const bar = `${'█'.repeat(cells)}${'░'.repeat(barCells - cells)}`;
        if (drawn) this.stderr.write(`\r\u001b[K${title} ${bar} ${percent} ${printable(report.step)}`);
        else if (report.step !== last) this.note(`${title}: ${printable(report.step)} (${percent})`);
        last = report.step;
        yield report;
      }
    } finally {
      if (drawn) this.stderr.write('\r\u001b[K');
    }
  }
}
