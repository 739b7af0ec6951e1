import type { RouteName } from '@holdfast/contract';
import type { CallInput } from './call.ts';

/** Things that exist in one workspace, for others to try to reach. */
export interface Belongings {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly teamId: string;
  readonly agentId: string;
  readonly sandboxId: string;
  readonly sandboxName: string;
  readonly traceId: string;
  readonly providerName: string;
  readonly modelRoute: string;
  readonly budgetId: string;
  readonly priceId: string;
  readonly killId: string;
  readonly webhookId: string;
  /** A run that has caps of its own. */
  readonly cappedRun: string;
}

const none = JSON.stringify({ model: 'none', messages: [] });
const content = JSON.stringify({ contents: [] });

const doorInputs = {
  chatCompletions: { body: none },
  responses: { body: JSON.stringify({ model: 'none', input: 'x' }) },
  embeddings: { body: JSON.stringify({ model: 'none', input: 'x' }) },
  imageGenerations: { body: JSON.stringify({ model: 'none', prompt: 'x' }) },
  imageEdits: { body: JSON.stringify({ model: 'none', prompt: 'x' }) },
  imageVariations: { body: JSON.stringify({ model: 'none' }) },
  audioSpeech: { body: JSON.stringify({ model: 'none', input: 'x', voice: 'x' }) },
  audioTranscriptions: { body: JSON.stringify({ model: 'none' }) },
  audioTranslations: { body: JSON.stringify({ model: 'none' }) },
  messages: { body: none },
  countTokens: { body: none },
  geminiGenerate: { params: { model: 'none' }, body: content },
  geminiStream: { params: { model: 'none' }, body: content },
  geminiEmbed: { params: { model: 'none' }, body: content },
  geminiBatchEmbed: { params: { model: 'none' }, body: '{"requests":[]}' },
  geminiGenerateV1: { params: { model: 'none' }, body: content },
  geminiStreamV1: { params: { model: 'none' }, body: content },
  geminiEmbedV1: { params: { model: 'none' }, body: content },
  geminiBatchEmbedV1: { params: { model: 'none' }, body: '{"requests":[]}' },
};

const gatewayInputs = (own: Belongings) => ({
  listProviders: {},
  putProvider: { body: { name: 'another', kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:9/v1' } },
  removeProvider: { params: { name: own.providerName } },
  listModelRoutes: {},
  putModelRoute: { body: { name: 'another', targets: [{ provider: own.providerName, model: 'x' }] } },
  removeModelRoute: { params: { name: own.modelRoute } },
  gatewayHealth: {},
  importGateway: { body: { text: '{}' } },
  createBudget: { body: { period: 'day', amount: 5 } },
  listBudgets: {},
  changeBudget: { params: { id: own.budgetId }, body: { amount: 6 } },
  removeBudget: { params: { id: own.budgetId } },
  createPrice: { body: { provider: 'openai', model: 'x' } },
  listPrices: {},
  removePrice: { params: { id: own.priceId } },
  rotateMasterKey: {},
  cacheStats: {},
  purgeCache: {},
  gatewayUsage: {},
  listAttempts: {},
  listRuns: {},
  putCaps: { body: { subject: 'workspace', maxCalls: 5 } },
  listCaps: {},
  removeCaps: { params: { subject: 'run', id: own.cappedRun } },
  setKill: { body: { subject: 'run', subjectId: own.cappedRun } },
  listKills: {},
  liftKill: { params: { id: own.killId } },
  listGatewayEvents: {},
  tailGateway: {},
  createWebhook: { body: { url: 'https://example.com/' } },
  listWebhooks: {},
  removeWebhook: { params: { id: own.webhookId } },
  testWebhook: { params: { id: own.webhookId } },
  listDeliveries: { params: { id: own.webhookId } },
});

/**
 * A valid request for every route; what it names belongs to the workspace given. The compiler sees to it that a new
 * route gets one, and so that it is tried with a foreign key and a viewer's key.
 */
export const inputsFor = (own: Belongings): Record<RouteName, CallInput> => {
  const params = { id: own.sandboxId };
  const path = { path: '/tmp/file' };
  const command = { argv: ['/bin/true'] };
  const span = { traceId: own.traceId, spanId: 'f'.repeat(16), kind: 'other', name: 'more', startMs: 1, endMs: 2 };
  return {
    whoami: {},
    getWorkspace: { params: { id: own.workspaceId } },
    createKey: { body: { name: 'another', role: 'owner' } },
    listKeys: {},
    revokeKey: { params: { id: own.keyId } },
    createTeam: { body: { name: 'another' } },
    listTeams: {},
    removeTeam: { params: { id: own.teamId } },
    createAgent: { body: { name: 'another' } },
    listAgents: {},
    removeAgent: { params: { id: own.agentId } },
    createUser: { body: { name: 'another' } },
    listUsers: {},
    createSandbox: { body: { name: 'intruder' } },
    listSandboxes: {},
    getSandbox: { params },
    deleteSandbox: { params },
    standbySandbox: { params, body: { force: true } },
    resumeSandbox: { params },
    forkSandbox: { params, body: { count: 1 } },
    whySandbox: { params },
    keepSandboxAlive: { params, body: { seconds: 60 } },
    sandboxEvents: { params },
    exec: { params, body: command },
    execStream: { params, body: command },
    shell: { params },
    startProcess: { params, body: { name: 'web', ...command } },
    listProcesses: { params },
    processLogs: { params: { ...params, name: 'web' } },
    stopProcess: { params: { ...params, name: 'web' } },
    readFile: { params, query: path },
    writeFile: { params, query: path, body: 'content' },
    removeFile: { params, query: path },
    statFile: { params, query: path },
    listFiles: { params, query: { path: '/tmp' } },
    makeDirectory: { params, body: { path: '/tmp/folder' } },
    moveFile: { params, body: { from: '/tmp/a', to: '/tmp/b' } },
    watchFiles: { params, query: { path: '/tmp' } },
    downloadTree: { params, query: { path: '/tmp' } },
    uploadTree: { params, query: { path: '/tmp' }, body: 'not a tar' },
    forwardPort: { params: { ...params, port: '8080' } },
    ...doorInputs,
    ...gatewayInputs(own),
    listTemplates: {},
    listModels: {},
    listTraces: {},
    getTrace: { params: { id: own.traceId } },
    postSpans: { body: { spans: [span] } },
  };
};
