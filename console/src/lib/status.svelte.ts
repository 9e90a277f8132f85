// What the whole program does, once a second, for the frame around the pages and the home page.
// One stream for the whole tab; without a free connection it asks every two seconds instead.
import { api, ApiError } from './api.ts';
import { takeSlot } from './slots.ts';
import { openStream, type Stream } from './sse.ts';
import type { Status } from './types.ts';

const HISTORY = 120;

class StatusStore {
  data = $state.raw<Status | null>(null);
  conn = $state<'connecting' | 'live' | 'waiting'>('connecting');
  retryAt = $state<number | null>(null);
  /** Events per second of the last two minutes. */
  history = $state.raw<number[]>([]);
  private stream: Stream | null = null;

  start(): void {
    void takeSlot().then((slot) => {
      if (!slot) return void this.pollForever();
      this.stream = openStream('/api/status/changes', {
        silentMs: 20_000,
        onState: (s) => {
          if (s.kind === 'waiting') {
            this.conn = 'waiting';
            this.retryAt = s.until;
          } else if (s.kind === 'connecting' && !this.data) this.conn = 'connecting';
        },
        onEvent: (e) => this.take(JSON.parse(e.data) as Status),
      });
    });
  }

  retryNow(): void {
    this.stream?.retryNow();
  }

  private take(status: Status): void {
    this.data = status;
    this.conn = 'live';
    this.retryAt = null;
    const rate = status.events_per_second;
    if (typeof rate === 'number') this.history = [...this.history, rate].slice(-HISTORY);
  }

  private async pollForever(): Promise<void> {
    for (;;) {
      try {
        if (!document.hidden) this.take(await api.status());
      } catch (e) {
        if (!(e instanceof ApiError)) throw e;
        this.conn = 'waiting';
        this.retryAt = Date.now() + 2000;
      }
      await new Promise((go) => setTimeout(go, 2000));
    }
  }
}

export const status = new StatusStore();
