/** A path on the host that the confined process sees under another name. */
export interface JailMount {
  readonly from: string;
  readonly to: string;
  readonly writable?: boolean;
  readonly device?: boolean;
}

export interface JailOptions {
  /** Host user and group the process runs under when the server is root; otherwise a user namespace of our own user. */
  readonly uid: number;
  readonly mounts: readonly JailMount[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly hostname: string;
}

const systemFolders = ['/usr', '/lib', '/lib64', '/bin', '/sbin'];

/**
 * The command line that runs `argv` confined: mount, PID, network, IPC, UTS and cgroup namespaces of its own, an empty root with
 * system folders read-only and only the named mounts, an unprivileged user without capabilities.
 *
 * bubblewrap builds the namespaces. As root it keeps just what `setpriv` needs to become `uid` inside; as an
 * ordinary user it uses a user namespace.
 */
export function jailCommand(argv: readonly string[], options: JailOptions, asRoot: boolean): string[] {
  const jail = ['bwrap', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'];
  jail.push('--hostname', options.hostname, '--clearenv');
  for (const [name, value] of Object.entries(options.env)) jail.push('--setenv', name, value);
  for (const folder of systemFolders) jail.push('--ro-bind-try', folder, folder);
  jail.push('--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp');
  for (const mount of options.mounts) jail.push(bindFlag(mount), mount.from, mount.to);
  jail.push('--chdir', options.cwd, '--new-session');
  if (!asRoot) return [...jail, '--unshare-user', '--cap-drop', 'ALL', '--', ...argv];
  const id = String(options.uid);
  const become = [
    'setpriv',
    '--reuid',
    id,
    '--regid',
    id,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ];
  const needed = ['--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID', '--cap-add', 'CAP_SETPCAP'];
  return [...jail, '--cap-drop', 'ALL', ...needed, '--', ...become, ...argv];
}

function bindFlag(mount: JailMount): string {
  if (mount.device === true) return '--dev-bind';
  return mount.writable === true ? '--bind' : '--ro-bind';
}
