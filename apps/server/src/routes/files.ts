import { type FileStat, sandboxRoutes } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { GuestStat, SandboxService } from '@holdfast/sandbox';
import { bindBytes, bindEmpty, bindJson } from '../http/bind.ts';

const statOf = (name: string, stat: GuestStat): FileStat => ({
  name,
  kind: stat.kind,
  size: stat.size,
  mode: stat.mode,
  uid: stat.uid,
  gid: stat.gid,
  modifiedAt: new Date(stat.mtimeMs).toISOString(),
  target: stat.target,
});

const nameOf = (path: string): string => path.replace(/\/+$/, '').split('/').at(-1) || '/';

const modeOf = (octal: string | undefined): { mode?: number } =>
  octal === undefined ? {} : { mode: Number.parseInt(octal, 8) };

/** Names are resolved in the guest only by exec; here an owner is given as `uid` or `uid:gid`. */
const ownerOf = (user: string | undefined): { uid?: number; gid?: number } => {
  if (user === undefined) return {};
  if (user === 'root') return { uid: 0, gid: 0 };
  const match = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(user);
  if (match === null)
    throw new HoldfastError('guest.user_not_found', 'Give the owner of a file as root, uid or uid:gid.', {
      user: user.slice(0, 64),
    });
  const uid = Number(match[1]);
  return { uid, gid: match[2] === undefined ? uid : Number(match[2]) };
};

const request = (detail: string) => ({ kind: 'request' as const, detail: detail.slice(0, 160) });

export const bindFiles = (sandboxes: SandboxService) => ({
  readFile: bindBytes(sandboxRoutes.readFile, ({ principal, params, query }, out) =>
    sandboxes.withGuest(principal, params.id, request(`read ${query.path}`), async (guest) => {
      const { offset, length } = query;
      const range = { ...(offset === undefined ? {} : { offset }), ...(length === undefined ? {} : { length }) };
      const { body } = await guest.read(query.path, range);
      await out.pipe(body);
    }),
  ),
  writeFile: bindJson(sandboxRoutes.writeFile, ({ principal, params, query, upload }) =>
    sandboxes.withGuest(principal, params.id, request(`write ${query.path}`), (guest) =>
      guest.write(query.path, upload(), {
        ...modeOf(query.mode),
        ...ownerOf(query.user),
        parents: query.parents,
        sync: true,
      }),
    ),
  ),
  removeFile: bindEmpty(sandboxRoutes.removeFile, ({ principal, params, query }) =>
    sandboxes.withGuest(principal, params.id, request(`remove ${query.path}`), (guest) =>
      guest.remove(query.path, { recursive: query.recursive }),
    ),
  ),
  statFile: bindJson(sandboxRoutes.statFile, ({ principal, params, query }) =>
    sandboxes.withGuest(principal, params.id, request(`stat ${query.path}`), async (guest) =>
      statOf(nameOf(query.path), await guest.stat(query.path)),
    ),
  ),
  listFiles: bindJson(sandboxRoutes.listFiles, ({ principal, params, query }) =>
    sandboxes.withGuest(principal, params.id, request(`list ${query.path}`), async (guest) => {
      const { limit, cursor } = query;
      const page = await guest.list(query.path, { limit, ...(cursor === undefined ? {} : { cursor }) });
      return { items: page.items.map((entry) => statOf(entry.name, entry)), cursor: page.cursor };
    }),
  ),
  makeDirectory: bindEmpty(sandboxRoutes.makeDirectory, ({ principal, params, body }) =>
    sandboxes.withGuest(principal, params.id, request(`make ${body.path}`), (guest) =>
      guest.mkdir(body.path, { ...modeOf(body.mode), parents: body.parents }),
    ),
  ),
  moveFile: bindEmpty(sandboxRoutes.moveFile, ({ principal, params, body }) =>
    sandboxes.withGuest(principal, params.id, request(`move ${body.from}`), (guest) =>
      guest.move(body.from, body.to, { overwrite: body.overwrite }),
    ),
  ),
  downloadTree: bindBytes(sandboxRoutes.downloadTree, ({ principal, params, query }, out) =>
    sandboxes.withGuest(principal, params.id, request(`download ${query.path}`), async (guest) => {
      const { body, done } = guest.tarOut(query.path);
      let first = true;
      for await (const chunk of body) {
        // The head waits for the first bytes, so that a path that is not there is still a proper error.
        if (first) out.begin('application/x-tar');
        first = false;
        await out.write(chunk);
      }
      await done;
    }),
  ),
  uploadTree: bindJson(sandboxRoutes.uploadTree, ({ principal, params, query, upload }) =>
    sandboxes.withGuest(principal, params.id, request(`upload to ${query.path}`), (guest) =>
      guest.tarIn(query.path, upload()),
    ),
  ),
});
