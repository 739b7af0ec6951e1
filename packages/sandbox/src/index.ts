export * from './guest/index.ts';
export { type AcceleratorReport, acceleratorReport } from './host/accelerator.ts';
export { openSandboxes, type SandboxLayer, type SandboxLayerOptions, type SandboxSettings } from './layer.ts';
export { type FaultPoint, faultPoints, type SandboxOperation } from './lifecycle/host.ts';
export type { Activeness, CreateSandbox, SandboxService, Scope } from './service.ts';
export { baseRecipe, type TemplateRecipe } from './template/recipe.ts';
export {
  type TemplateProgress,
  type TemplateStatus,
  TemplateStore,
  type TemplateStoreOptions,
} from './template/store.ts';
