export interface ShellLine {
  readonly text: string;
  /** In the page, from 1. */
  readonly line: number;
}

export interface ShellBlock {
  /** The heading it stands under. */
  readonly heading: string;
  readonly lines: readonly ShellLine[];
  /** What the fence says after `sh`, such as `no-run`. */
  readonly flags: readonly string[];
}

/** The fenced blocks of shell in a Markdown page, with continued lines joined. */
export const shellBlocks = (page: string): ShellBlock[] => {
  const blocks: ShellBlock[] = [];
  let heading = '';
  let open: { lines: ShellLine[]; flags: string[]; shell: boolean } | null = null;
  let continued: ShellLine | null = null;
  for (const [i, text] of page.split('\n').entries()) {
    const fence = /^```(\S*)\s*(.*)$/.exec(text);
    if (fence !== null) {
      if (open === null) {
        open = { lines: [], flags: (fence[2] ?? '').split(/\s+/).filter(Boolean), shell: fence[1] === 'sh' };
      } else {
        if (open.shell) blocks.push({ heading, lines: open.lines, flags: open.flags });
        open = null;
      }
      continue;
    }
    if (open === null) {
      heading = /^#+\s+(.*)$/.exec(text)?.[1] ?? heading;
      continue;
    }
    const line: ShellLine =
      continued === null ? { text, line: i + 1 } : { text: `${continued.text} ${text.trim()}`, line: continued.line };
    if (line.text.endsWith('\\')) {
      continued = { text: line.text.slice(0, -1).trimEnd(), line: line.line };
    } else {
      continued = null;
      open.lines.push(line);
    }
  }
  return blocks;
};
