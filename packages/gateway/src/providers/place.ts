/** Where a provider is: an origin, and what precedes its paths. */
export interface Place {
  readonly origin: string;
  /** Without a slash at its end. */
  readonly prefix: string;
}

export const placeOf = (baseUrl: string): Place => {
  const url = new URL(baseUrl);
  return { origin: url.origin, prefix: url.pathname.replace(/\/+$/, '') };
};
