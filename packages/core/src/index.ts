export * from './clock.ts';
export * from './errors.ts';
export * from './ids.ts';
export * from './limits.ts';
export * from './log.ts';
export * from './secret.ts';
export * from './span.ts';
export * from './trace-context.ts';
