/** Something that happened in the gateway and that somebody may want to be told of. Never carries prompts or secrets. */
export interface GatewayEvent {
  readonly workspaceId: string;
  readonly type: GatewayEventType;
  /** What it is about: an id or name, such as a budget's id or a route's name. */
  readonly subject: string;
  /** JSON-safe facts. */
  readonly data: Readonly<Record<string, unknown>>;
  /**
   * Of all events with the same text, over all processes, only the first is kept, such as
   * `budget:<id>:<window start>:80` for a threshold; null: each counts.
   */
  readonly once: string | null;
}

export const gatewayEventTypes = [
  'budget.threshold', // a soft threshold of a budget was passed
  'budget.exhausted', // a call was refused by a budget
  'runaway.suspected', // calls of a run repeat themselves
  'runaway.stopped', // a call was refused by a cap or for repeating itself
  'kill.set',
  'kill.lifted',
  'target.opened', // the breaker of a target opened
  'target.closed',
  'provider.changed',
  'route.changed',
  'budget.changed',
  'webhook.test',
] as const;
export type GatewayEventType = (typeof gatewayEventTypes)[number];

/** Where events go. `publish` never throws and never blocks; what is too much is dropped and counted. */
export interface EventSink {
  publish(event: GatewayEvent): void;
}

export const discardEvents: EventSink = { publish: () => undefined };
