import { fitted, formatDuration, printable, textWidth } from '@holdfast/sdk';

export interface ScreenOptions {
  readonly out: { write(text: string): unknown };
  /** Lines are at most this wide; at least 60 are used. */
  readonly width: number;
  readonly color: boolean;
  /** Shows what is under way on a line that is then written over. Only for terminals. */
  readonly live: boolean;
}

const colors = { dim: '2', bold: '1', green: '32', yellow: '33', cyan: '36', red: '31', magenta: '35' } as const;
export type Color = keyof typeof colors;

const spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const frameMs = 100;
const labelWidth = 12;

/** `printable`, but with its spaces as they are. */
const clean = (text: string): string =>
  text
    .split(/( +)/)
    .map((part) => (part.startsWith(' ') ? part : printable(part)))
    .join('');

/** At most `width` columns, with an ellipsis when that is too few. */
const cut = (text: string, width: number): string => fitted(text, width).trimEnd();

/** Words on lines of at most `width` columns. */
export const wrap = (text: string, width: number): string[] => {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of printable(paragraph).split(' ')) {
      if (line !== '' && textWidth(line) + 1 + textWidth(word) > width) {
        lines.push(line);
        line = '';
      }
      line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines;
};

/** The demo's output: one line for each thing that was done, its time at the right. */
export class Screen {
  readonly width: number;
  readonly color: boolean;
  readonly #out: ScreenOptions['out'];
  readonly #live: boolean;

  constructor({ out, width, color, live }: ScreenOptions) {
    this.#out = out;
    this.width = Math.min(Math.max(Math.floor(width), 60), 108);
    this.color = color;
    this.#live = live;
  }

  paint(color: Color, text: string): string {
    return this.color && text !== '' ? `\u001b[${colors[color]}m${text}\u001b[0m` : text;
  }

  /** Text that is already laid out, such as a tree. */
  raw(text: string): void {
    this.#out.write(text);
  }

  blank(): void {
    this.#out.write('\n');
  }

  heading(text: string, more = ''): void {
    const rest = more === '' ? '' : cut(` · ${printable(more)}`, this.width - 2 - textWidth(text));
    this.#out.write(`\n  ${this.paint('bold', text)}${this.paint('dim', rest)}\n\n`);
  }

  /** Prose of the model. */
  said(text: string): void {
    wrap(text, this.width - 4).forEach((line, i) => {
      this.#out.write(line === '' ? '\n' : `  ${i === 0 ? this.paint('cyan', '›') : ' '} ${line}\n`);
    });
  }

  /** `  ✓ label       text                    1.20 s` */
  line(o: { mark: string; color: Color; label: string; text: string; ms?: number | null; indent?: number }): void {
    const indent = ' '.repeat(2 + (o.indent ?? 0));
    const time = o.ms === undefined || o.ms === null ? '' : formatDuration(o.ms);
    const label = o.label.padEnd(labelWidth);
    const room = this.width - textWidth(`${indent}${o.mark} ${label}`) - time.length - 2;
    const body = cut(clean(o.text), room);
    const gap = time === '' ? '' : ' '.repeat(Math.max(0, room - textWidth(body)) + 2);
    const mark = this.paint(o.color, o.mark);
    this.#out.write(`${indent}${mark} ${this.paint('bold', label)}${body}${gap}${this.paint('dim', time)}\n`);
  }

  /** A unified diff, without its header lines. */
  diff(text: string): void {
    const lines = text.split('\n').filter((line) => line !== '' && !/^(diff|index|---) /.test(line));
    for (const line of lines) {
      const color = line.startsWith('+') ? 'green' : line.startsWith('-') ? 'red' : 'dim';
      const shown = line.startsWith('+++ ') ? this.paint('bold', line.slice(6)) : null;
      this.#out.write(`    ${shown ?? this.paint(color, cut(clean(line), this.width - 4))}\n`);
    }
  }

  /** Runs `work`, saying on a terminal that it goes on; gives how long it took in milliseconds. */
  async during<T>(title: string, work: () => Promise<T>): Promise<{ value: T; ms: number }> {
    const begun = performance.now();
    const stop = this.waiting(title);
    try {
      return { value: await work(), ms: performance.now() - begun };
    } finally {
      stop();
    }
  }

  /** Says on a terminal that something goes on until the returned function is called. */
  waiting(title: string): () => void {
    if (!this.#live) return () => undefined;
    const begun = performance.now();
    let frame = 0;
    const draw = () => {
      const seconds = Math.floor((performance.now() - begun) / 1000);
      const text = cut(`${printable(title)}${seconds > 1 ? ` (${seconds} s)` : ''}`, this.width - 4);
      this.#out.write(`\r\u001b[K  ${this.paint('cyan', spinner[frame % spinner.length] ?? '')} ${text}`);
      frame += 1;
    };
    draw();
    const timer = setInterval(draw, frameMs);
    return () => {
      clearInterval(timer);
      this.#out.write('\r\u001b[K');
    };
  }
}
