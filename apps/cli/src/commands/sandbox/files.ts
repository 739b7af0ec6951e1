import { once } from 'node:events';
import { Sandbox } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatBytes } from '../../output.ts';

interface Range {
  readonly offset?: number;
  readonly length?: number;
}

/** With --json the content is base64, for a file need not be text. */
export const readFile: Run<Range> = async (context, [id = '', path = ''], { offset, length }) => {
  const client = await connect(context);
  const { output } = context;
  const content = await client.readFile({ params: { id }, query: { path, offset, length } });
  if (output.json) {
    const bytes = await content.bytes();
    output.result({ path, size: bytes.byteLength, base64: Buffer.from(bytes).toString('base64') }, () => '');
    return;
  }
  for await (const chunk of content) if (!output.stdout.write(chunk)) await once(output.stdout, 'drain');
};

interface WriteOptions {
  readonly mode?: string;
  readonly parents?: boolean;
  readonly user?: string;
}

export const writeFile: Run<WriteOptions> = async (context, [id = '', path = ''], options) => {
  const client = await connect(context);
  const { mode, user, parents = false } = options;
  const written = await new Sandbox(client, id).writeFile(path, process.stdin, { mode, user, parents });
  context.output.result(written, ({ size }) => `${path}: ${formatBytes(size)}`);
};
