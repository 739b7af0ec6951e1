import type { ModelList } from '@holdfast/contract';
import type { DoorFamily } from './endpoint.ts';

/** A list of models as the clients of a door expect it; `/v1/models` is a path of OpenAI's and of Anthropic's API. */
export const modelListOf = (family: DoorFamily, data: ModelList['data']): ModelList | Record<string, unknown> => {
  if (family !== 'anthropic') return { object: 'list', data };
  return {
    data: data.map(({ id, created }) => ({
      type: 'model',
      id,
      display_name: id,
      created_at: new Date(created * 1_000).toISOString(),
    })),
    has_more: false,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  };
};
