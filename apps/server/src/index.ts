export { type Config, readConfig } from './config.ts';
export { type RunningServer, startServer, version } from './server.ts';
