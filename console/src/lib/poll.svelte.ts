// Asks again and again while somebody looks: the last good answer stays on the page while the
// server is away, and a hidden page asks nothing.
import { ApiError } from './api.ts';
import type { Problem } from './types.ts';

export class Poll<T> {
  data = $state.raw<T | undefined>(undefined);
  problem = $state.raw<Problem | null>(null);

  /** Starts asking; the result ends it, which is what an `$effect` wants to be given. */
  start(ask: () => Promise<T>, everyMs: number): () => void {
    let stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tick = async () => {
      if (!document.hidden) {
        try {
          const answer = await ask();
          if (stopped) return;
          this.data = answer;
          this.problem = null;
        } catch (e) {
          if (stopped) return;
          this.problem = e instanceof ApiError ? e.problem : unexpected(e);
        }
      }
      if (!stopped) timer = setTimeout(tick, everyMs);
    };
    void tick();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }
}

export function unexpected(e: unknown): Problem {
  const detail = e instanceof Error ? e.message : String(e);
  return { type: 'about:blank', title: 'console', status: 0, code: 'console', sqlstate: '', detail };
}
