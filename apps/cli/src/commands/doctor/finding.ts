/** `unknown` is for what could not be found out; only `broken` makes doctor fail. */
export type FindingStatus = 'ok' | 'warning' | 'broken' | 'unknown';

export interface Finding {
  readonly name: string;
  readonly status: FindingStatus;
  readonly detail: string;
  /** What to do about it, null when there is nothing to do. */
  readonly help: string | null;
}

export const ok = (name: string, detail: string): Finding => ({ name, status: 'ok', detail, help: null });
export const warning = (name: string, detail: string, help: string | null = null): Finding => ({
  name,
  status: 'warning',
  detail,
  help,
});
export const broken = (name: string, detail: string, help: string): Finding => ({
  name,
  status: 'broken',
  detail,
  help,
});
export const unknown = (name: string, detail: string): Finding => ({ name, status: 'unknown', detail, help: null });
