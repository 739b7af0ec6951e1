import type { CallOptions, Client } from '@holdfast/sdk';
import type { Candidate, LookupKind } from '../../completion/candidates.ts';

type GatewayKind = Exclude<LookupKind, 'sandbox' | 'key' | 'trace' | 'bench'>;

/** Names of things of the gateway, for the tab key. */
export const gatewayCandidates = async (
  client: Client,
  kind: GatewayKind,
  options: CallOptions,
): Promise<readonly Candidate[]> => {
  switch (kind) {
    case 'provider':
      return (await client.listProviders({}, options)).items
        .filter((p) => p.origin === 'workspace')
        .map((p) => ({ word: p.name, description: p.kind }));
    case 'route':
      return (await client.listModelRoutes({}, options)).items
        .filter((r) => r.origin === 'workspace')
        .map((r) => ({ word: r.name, description: r.strategy }));
    case 'budget':
      return (await client.listBudgets({ query: { limit: 1000 } }, options)).items.map((b) => ({
        word: b.id,
        description: `${b.scope} ${b.period}`,
      }));
    case 'price':
      return (await client.listPrices({}, options)).items.map((p) => ({ word: p.id, description: p.model }));
    case 'kill':
      return (await client.listKills({}, options)).items.map((k) => ({
        word: k.id,
        description: `${k.subject} ${k.subjectId}`,
      }));
    case 'webhook':
      return (await client.listWebhooks({}, options)).items.map((w) => ({ word: w.id, description: w.url }));
    case 'team':
      return (await client.listTeams({}, options)).items.map((t) => ({ word: t.name, description: t.id }));
    case 'agent':
      return (await client.listAgents({}, options)).items.map((a) => ({ word: a.name, description: a.id }));
  }
};
