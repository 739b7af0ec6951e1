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
};

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
    listTemplates: {},
    listModels: {},
    listTraces: {},
    getTrace: { params: { id: own.traceId } },
    postSpans: { body: { spans: [span] } },
  };
};
