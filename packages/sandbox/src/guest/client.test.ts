import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { GuestClient } from './client.ts';
import { encodeFrame } from './frame.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import { FrameType, Op, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

const options = { takeover: false, timeoutMs: 5_000, random: () => randomBytes(16) };

test('requests made at once travel in the same write as HELLO', async () => {
  const peer = new ScriptedPeer((frame, self) => {
    if (frame.type !== FrameType.open) return;
    const op = Number(new Fields(frame.payload, true).u64(Tag.op));
    const stat = new FieldsBuilder().number(Tag.kind, 1).number(Tag.size, 2).number(Tag.mode, 0o644);
    if (op === Op.read) {
      self.send(
        stat.number(Tag.uid, 0).number(Tag.gid, 0).frame(FrameType.event, frame.stream),
        encodeFrame(FrameType.data, 0, frame.stream, Buffer.from('hi')),
        encodeFrame(FrameType.eof, 0, frame.stream),
        new FieldsBuilder().number(Tag.size, 2).frame(FrameType.result, frame.stream),
      );
    } else self.send(new FieldsBuilder().frame(FrameType.result, frame.stream));
  });
  const client = GuestClient.start(peer.host, { ...options, takeover: true });
  const restored = client.restore({ timeNs: 1n, entropy: randomBytes(64) });
  const reading = client.read('/etc/hostname');
  const file = await reading;
  await restored;
  assert.equal(peer.writes, 1);
  assert.equal((await client.ready).agent, 'scripted');
  const chunks = [];
  for await (const chunk of file.body) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), 'hi');
  assert.deepEqual(client.load, { streams: 0, guestStreams: 0, listeners: 0, queuedBytes: 0 });
  client.close();
  assert.equal((await client.closed).reason, 'closed');
});
