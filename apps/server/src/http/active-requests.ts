import type { ServerResponse } from 'node:http';
import { HoldfastError } from '@holdfast/core';

/** What is under way, so that a shutdown can wait for it and then end it. */
export class ActiveRequests {
  readonly #controllers = new Set<AbortController>();
  #idle: () => void = () => undefined;

  get count(): number {
    return this.#controllers.size;
  }

  /** Begins one; its signal aborts when `abandon` is called. `end` must follow. */
  begin(): { readonly controller: AbortController; readonly end: () => void } {
    const controller = new AbortController();
    this.#controllers.add(controller);
    const end = (): void => {
      if (this.#controllers.delete(controller) && this.#controllers.size === 0) this.#idle();
    };
    return { controller, end };
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    if (this.#controllers.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Aborts all that is still under way. */
  abandon(): void {
    for (const controller of this.#controllers) controller.abort(new HoldfastError('server.stopping'));
  }
}

/** Aborts when the client closes the connection before the answer has ended. */
export const abortOnClose = (outgoing: ServerResponse, controller: AbortController): void => {
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) controller.abort(new HoldfastError('request.aborted'));
  });
};
