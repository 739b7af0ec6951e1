/**
 * Draws what a program printed as an SVG picture of a terminal:
 * `./holdfast demo | node docs/pictures/render-terminal.ts "title" > docs/pictures/demo.svg`. Reads standard input with its
 * ANSI colours; a number as the second argument keeps only so many of the last lines.
 */
import { argv, stdin, stdout } from 'node:process';
import { fitted, textWidth } from '@holdfast/contract';

const cell = { width: 8.4, height: 18 } as const;
const padding = 16;
const titleHeight = 32;
const maxColumns = 160;
const maxLines = 200;

const background = '#11151c';
const foreground = '#d7dde5';
/** Colours 30 to 37 of ANSI, readable on the background. */
const palette = ['#6b7480', '#ff7b72', '#7ee787', '#f2cc60', '#79c0ff', '#d2a8ff', '#76e3ea', '#d7dde5'] as const;

interface Style {
  readonly color: string;
  readonly bold: boolean;
  readonly dim: boolean;
}
const plain: Style = { color: foreground, bold: false, dim: false };

const styled = (style: Style, codes: readonly number[]): Style => {
  let next = style;
  for (const code of codes) {
    if (code === 0) next = plain;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 39) next = { ...next, color: foreground };
    else if (code >= 30 && code <= 37) next = { ...next, color: palette[code - 30] ?? foreground };
    else if (code >= 90 && code <= 97) next = { ...next, color: palette[code - 90] ?? foreground };
  }
  return next;
};

interface Piece {
  readonly text: string;
  readonly style: Style;
}

/** Splits a line at its colour sequences; every other control sequence is dropped. */
const piecesOf = (line: string): Piece[] => {
  const [first = '', ...rest] = line.split('\u001b');
  const pieces: Piece[] = [{ text: first, style: plain }];
  let style = plain;
  for (const part of rest) {
    const [sequence = '', codes = '', final = ''] = /^\[([0-9;?]*)([A-Za-z])/.exec(part) ?? [];
    if (final === 'm') style = styled(style, codes.split(';').map(Number));
    pieces.push({ text: part.slice(sequence.length), style });
  }
  return pieces
    .map((piece) => ({ ...piece, text: piece.text.replace(/\p{Cc}/gu, '') }))
    .filter(({ text }) => text !== '');
};

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const number = (value: number): string => value.toFixed(1).replace(/\.0$/, '');

/** Each piece is placed by its column, so that the picture keeps its columns in any monospace font. */
const drawLine = (line: string, y: number): string => {
  let column = 0;
  const spans = piecesOf(line).flatMap(({ text, style }) => {
    const room = maxColumns - column;
    const whole = textWidth(text) > room ? fitted(text, room) : text;
    // Renderers treat spaces at the ends of a text differently, so they are left out and counted.
    const shown = whole.trim();
    const x = padding + (column + whole.length - whole.trimStart().length) * cell.width;
    column += textWidth(whole);
    if (shown === '') return [];
    const weight = style.bold ? ' font-weight="bold"' : '';
    const opacity = style.dim ? ' opacity="0.6"' : '';
    const length = ` textLength="${number(textWidth(shown) * cell.width)}" lengthAdjust="spacingAndGlyphs"`;
    const place = `x="${number(x)}" y="${number(y)}"`;
    return [`<text ${place} fill="${style.color}"${weight}${opacity}${length}>${escapeXml(shown)}</text>`];
  });
  return spans.join('');
};

/** An SVG picture of a terminal that shows `text`. */
const render = (title: string, text: string, keep: number): string => {
  // What a progress line showed before its last carriage return is gone on a terminal too.
  const all = text.split('\n').map((line) => line.replace(/\r$/, '').split('\r').at(-1) ?? '');
  const lines = all.join('\n').trimEnd().split('\n').slice(-keep);
  const columns = Math.min(
    maxColumns,
    lines.reduce(
      (most, line) =>
        Math.max(
          most,
          textWidth(
            piecesOf(line)
              .map((p) => p.text)
              .join(''),
          ),
        ),
      60,
    ),
  );
  const width = Math.ceil(columns * cell.width + 2 * padding);
  const height = titleHeight + lines.length * cell.height + padding;
  const dots = ['#ff5f57', '#febc2e', '#28c840'].map(
    (fill, i) => `<circle cx="${padding + 6 + i * 18}" cy="${titleHeight / 2}" r="5.5" fill="${fill}"/>`,
  );
  const rows = lines.map((line, i) => drawLine(line, titleHeight + (i + 0.8) * cell.height));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(title)}">`,
    `<rect width="${width}" height="${height}" rx="8" fill="${background}"/>`,
    ...dots,
    `<text x="${width / 2}" y="${titleHeight / 2 + 4.5}" text-anchor="middle" font-family="sans-serif" font-size="13" fill="#8b949e">${escapeXml(title)}</text>`,
    '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">',
    ...rows.filter((row) => row !== ''),
    '</g>',
    '</svg>',
    '',
  ].join('\n');
};

stdin.setEncoding('utf8');
let input = '';
for await (const chunk of stdin) {
  input += chunk;
  if (input.length > 4_000_000) throw new Error('More than 4 MB is no picture.');
}
const [, , title = './holdfast demo', keep = '60'] = argv;
stdout.write(render(title, input, Math.min(maxLines, Math.max(1, Number(keep) || 60))));
