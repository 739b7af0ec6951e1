import { writeFile } from 'node:fs/promises';
import { goldenOf, goldenPath, pairs, readDocuments } from './golden-files.suite.ts';

// One line for each event, so that a difference shows which of them changed.
const lines = (json: string): string =>
  json.replace(/^( *)\{\n +"event": [\s\S]*?\n\1\}/gm, (event) => event.replace(/\n */g, ' '));

for (const [from, to] of pairs) {
  const golden = goldenOf(from, to, await readDocuments(from));
  await writeFile(goldenPath(from, to), `${lines(JSON.stringify(golden, null, 2))}\n`);
}
