export { verifyRamImage } from './ram-image.ts';
export { type RamExtent, type RamIndex, ramPageBytes, readRamIndex } from './ram-index.ts';
export { type RamLoad, type RamLoaded, type RamSave, RamShim, type RamShimOptions } from './ram-shim.ts';
export type { RamDirty, RamSaved, RamStatus, RamVerification } from './shim-line.ts';
