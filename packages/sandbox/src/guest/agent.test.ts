import { after, before, describe } from 'node:test';
import { execSuite } from './exec.suite.ts';
import { filesSuite } from './files.suite.ts';
import { forwardSuite } from './forward.suite.ts';
import { meddlingSuite } from './meddling.suite.ts';
import { type AgentUnderTest, NativeAgent } from './native-agent.ts';
import { processesSuite } from './processes.suite.ts';
import { sessionSuite } from './session.suite.ts';
import { treesSuite } from './trees.suite.ts';

// One file, so that the agent is built once; the suites are files of their own.
describe('the client with the real agent', () => {
  let under: AgentUnderTest | null = null;
  const get = (): AgentUnderTest => {
    if (under === null) throw new Error('the agent has not started');
    return under;
  };
  before(async () => {
    const agent = await NativeAgent.start();
    under = { agent, client: await agent.client() };
  });
  after(async () => {
    under?.client.close();
    await under?.agent[Symbol.asyncDispose]();
  });
  sessionSuite(get);
  execSuite(get);
  processesSuite(get);
  filesSuite(get);
  treesSuite(get);
  forwardSuite(get);
  meddlingSuite(get);
});
