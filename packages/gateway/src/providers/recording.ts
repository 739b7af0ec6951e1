import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';

const maxRecordings = 1_000;
const maxRecordingBytes = 8_388_608;

const fixtureName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/);
const status = z.number().int().min(200).max(599);
const headers = z.record(z.string().regex(/^[a-z0-9-]{1,64}$/), z.string().max(1_024)).default({});

const recordedReply = z
  .strictObject({
    /** Refuses the reply when the last message of the conversation has another role. */
    after: z.strictObject({ role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']) }).optional(),
    /** The answer to a request without `stream`: text is sent as it is, anything else as JSON. */
    whole: z
      .strictObject({ status: status.default(200), headers, body: z.union([z.string(), z.looseObject({})]) })
      .optional(),
    /** The answer to a request with `stream`: the lines of each server-sent event, and the wait before it. */
    stream: z
      .strictObject({
        status: status.default(200),
        headers,
        events: z
          .array(
            z.strictObject({
              afterMs: z.number().min(0).max(60_000).default(0),
              lines: z
                .array(z.string().regex(/^[^\r\n]*$/, 'one line'))
                .min(1)
                .max(64),
            }),
          )
          .min(1)
          .max(10_000),
      })
      .optional(),
  })
  .refine((r) => r.whole !== undefined || r.stream !== undefined, 'give whole, stream or both');

/** The format of a recording; `recorded/README.md` explains it. */
export const recording = z.strictObject({
  format: z.literal('holdfast-recording/1'),
  /** Also the file's name, and the model's: `recorded/<name>`. */
  name: fixtureName,
  description: z.string().min(1).max(2_000),
  /** Where the replies come from: which model, when; or that somebody wrote them by hand. */
  provenance: z.string().min(1).max(2_000),
  /** One reply for each turn of the assistant, in order. */
  replies: z.array(recordedReply).min(1).max(1_000),
});

export type Recording = z.output<typeof recording>;
export type RecordedReply = z.output<typeof recordedReply>;

const invalid = (file: string, problem: string, cause?: unknown): HoldfastError =>
  new HoldfastError('gateway.recording_invalid', `The recording ${file} is not valid: ${problem}`, { file }, { cause });

const readRecording = async (file: string): Promise<Recording> => {
  if ((await stat(file)).size > maxRecordingBytes) throw invalid(file, `it is larger than ${maxRecordingBytes} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw invalid(file, 'it is not JSON', cause);
  }
  const parsed = recording.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  if (`${parsed.data.name}.json` !== basename(file)) throw invalid(file, `it is named ${parsed.data.name} inside`);
  return parsed.data;
};

/** All recordings of a folder, given as a `file:` URL or a path. Throws `gateway.recording_invalid`. */
export const loadRecordings = async (folderUrl: string): Promise<ReadonlyMap<string, Recording>> => {
  const folder = folderUrl.startsWith('file:') ? fileURLToPath(folderUrl) : folderUrl;
  let names: string[];
  try {
    names = (await readdir(folder)).filter((n) => n.endsWith('.json')).sort();
  } catch (cause) {
    throw invalid(folder, 'the folder cannot be read', cause);
  }
  if (names.length > maxRecordings) throw invalid(folder, `it has more than ${maxRecordings} recordings`);
  const recordings = new Map<string, Recording>();
  for (const name of names) {
    const read = await readRecording(join(folder, name));
    recordings.set(read.name, read);
  }
  return recordings;
};
