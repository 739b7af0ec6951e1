export * from './route.ts';
export * from './sandbox.ts';
