/** Steps of `holdfast test` in their order. */
export const stepNames = [
  'biome',
  'types',
  'oxlint',
  'schema',
  'tidy',
  'unit',
  'integration',
  'e2e',
  'chaos',
  'bench',
] as const;

export type StepName = (typeof stepNames)[number];
