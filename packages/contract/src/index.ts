export * from './all.ts';
export * from './identity.ts';
export * from './openapi.ts';
export * from './problem.ts';
export * from './route.ts';
export * from './sandbox.ts';
