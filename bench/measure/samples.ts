/** Times in milliseconds of one thing done again and again. */
export class Samples {
  readonly #values: number[] = [];

  /** Runs the work and keeps how long it took. */
  async time<T>(work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await work();
    this.#values.push(performance.now() - began);
    return result;
  }

  add(value: number): void {
    this.#values.push(value);
  }

  get values(): readonly number[] {
    return this.#values;
  }

  get count(): number {
    return this.#values.length;
  }

  /** The nearest-rank percentile, `fraction` from 0 to 1; NaN without samples. */
  percentile(fraction: number): number {
    const sorted = this.#values.toSorted((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
  }

  get p50(): number {
    return this.percentile(0.5);
  }

  get p99(): number {
    return this.percentile(0.99);
  }
}
