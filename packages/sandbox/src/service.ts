import type { AwakeReason, Sandbox, SandboxEvent } from '@holdfast/contract';
import type { GuestClient } from './guest/index.ts';

/** Whose sandboxes a call may see. */
export interface Scope {
  readonly workspaceId: string;
}

export interface CreateSandbox {
  readonly name?: string | undefined;
  readonly template: string;
  readonly memoryMib: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Activeness {
  readonly state: Sandbox['state'];
  readonly awake: boolean;
  readonly reasons: AwakeReason[];
  readonly standbyAt: string | null;
}

/** The sandbox layer as the server sees it. Every method throws `resource.not_found` for what is not in the scope. */
export interface SandboxService {
  create(scope: Scope, input: CreateSandbox): Promise<Sandbox>;
  list(
    scope: Scope,
    page: { limit: number; cursor?: string | undefined; state?: Sandbox['state'] | undefined },
  ): Promise<{ items: Sandbox[]; cursor: string | null }>;
  get(scope: Scope, idOrName: string): Promise<Sandbox>;
  remove(scope: Scope, idOrName: string): Promise<void>;
  standby(scope: Scope, idOrName: string, options: { force: boolean }): Promise<Sandbox>;
  resume(scope: Scope, idOrName: string): Promise<Sandbox>;
  fork(scope: Scope, idOrName: string, options: { count: number; name?: string | undefined }): Promise<Sandbox[]>;
  why(scope: Scope, idOrName: string): Promise<Activeness>;
  keepAlive(scope: Scope, idOrName: string, options: { seconds: number }): Promise<Sandbox>;
  events(scope: Scope, idOrName: string, page: { after: number; limit: number }): Promise<SandboxEvent[]>;
  /** Resumes the sandbox when needed and holds it awake while `use` runs; `activity` is what `why` shows. */
  withGuest<T>(
    scope: Scope,
    idOrName: string,
    activity: { kind: AwakeReason['kind']; detail: string },
    use: (guest: GuestClient) => Promise<T>,
  ): Promise<T>;
}
