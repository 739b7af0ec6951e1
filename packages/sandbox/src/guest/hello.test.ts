import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { GuestClient } from './client.ts';
import { encodeFrame } from './frame.ts';
import { helloAnswer, ScriptedPeer } from './scripted-peer.ts';
import { SeededRandom } from './seeded-random.ts';
import { FrameType, Op, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

const options = { takeover: false, timeoutMs: 5_000, random: () => randomBytes(16) };

test('requests made at once travel in the same write as HELLO', async () => {
  const peer = new ScriptedPeer({
    onFrame(frame, self) {
      const op = Number(new Fields(frame.payload, true).u64(Tag.op));
      if (op === Op.restore) return self.send(new FieldsBuilder().frame(FrameType.result, frame.stream));
      const stat = new FieldsBuilder().number(Tag.kind, 1).number(Tag.size, 2).number(Tag.mode, 0o644);
      self.send(
        stat.number(Tag.uid, 0).number(Tag.gid, 0).frame(FrameType.event, frame.stream),
        encodeFrame(FrameType.data, 0, frame.stream, Buffer.from('hi')),
        encodeFrame(FrameType.eof, 0, frame.stream),
        new FieldsBuilder().number(Tag.size, 2).frame(FrameType.result, frame.stream),
      );
    },
  });
  const client = GuestClient.start(peer.host, { ...options, takeover: true });
  const restored = client.restore({ timeNs: 1n, entropy: randomBytes(512) });
  const file = await client.read('/etc/hostname');
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

test('what an earlier session left is skipped, an earlier HELLO included, however it is cut', async () => {
  const random = new SeededRandom(42);
  for (let round = 0; round < 40; round += 1) {
    const peer = new ScriptedPeer({
      greet(nonce, self) {
        const old = [
          random.bytes(random.below(5_000)),
          helloAnswer(random.bytes(16)),
          helloAnswer(nonce).subarray(0, 30),
        ];
        for (const chunk of random.cut(Buffer.concat([...old, helloAnswer(nonce)]))) self.send(chunk);
      },
    });
    const client = await GuestClient.connect(peer.host, options);
    assert.deepEqual(client.hello, { agent: 'scripted', bootId: 'boot', features: ['test'] });
    client.close();
  }
});

test('a guest that never answers HELLO is given up: by time, by bytes, by version', async () => {
  const silent = new ScriptedPeer({ greet: () => undefined });
  const late = GuestClient.start(silent.host, { ...options, timeoutMs: 1 });
  await assert.rejects(late.ping(), { code: 'guest.timeout' });
  assert.equal((await late.closed).reason, 'error');

  const noisy = new ScriptedPeer({
    greet(_nonce, self) {
      for (let sent = 0; sent <= 4 * 1024 * 1024; sent += 65_536) self.send(Buffer.alloc(65_536, 0xa5));
    },
  });
  await assert.rejects(GuestClient.connect(noisy.host, options), { code: 'guest.protocol_error' });

  const older = new ScriptedPeer({
    greet: (_nonce, self) =>
      self.send(new FieldsBuilder().text(Tag.code, 'version_mismatch').frame(FrameType.error, 0)),
  });
  await assert.rejects(GuestClient.connect(older.host, options), { code: 'guest.version_mismatch' });
});

test('a lost connection rejects what is pending and refuses what comes later', async () => {
  const peer = new ScriptedPeer();
  const client = await GuestClient.connect(peer.host, options);
  const pending = client.ping();
  const exec = client.exec({ argv: ['x'] });
  peer.host.push(null);
  await assert.rejects(pending, { code: 'guest.disconnected' });
  await assert.rejects(exec.result, { code: 'guest.disconnected' });
  await assert.rejects(exec.started, { code: 'guest.disconnected' });
  await assert.rejects(client.ping(), { code: 'guest.disconnected' });
  assert.throws(() => client.exec({ argv: ['x'] }), { code: 'guest.disconnected' });
  assert.equal((await client.closed).reason, 'closed');
});
