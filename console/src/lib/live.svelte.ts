// The rows of a view, kept fresh while a page shows them. Charts of one view share one stream; a
// view too large for the browser, or one for which no connection is free, is asked for instead.
import { api, ApiError } from './api.ts';
import { type Change, ViewRows } from './changes.ts';
import { windowColumn } from './plot.ts';
import { unexpected } from './poll.svelte.ts';
import { takeSlot } from './slots.ts';
import { openStream, type Stream } from './sse.ts';
import type { Row } from './local.ts';
import type { Column, Problem, View } from './types.ts';

/** Above this many rows a snapshot is too much for a page: the newest rows are asked for. */
const STREAM_ROWS_MAX = 20_000;
const POLL_ROWS = 2_000;
const POLL_MS = 3_000;

export class LiveView {
  columns = $state.raw<Column[]>([]);
  rows = $state.raw<Row[]>([]);
  epoch = $state<number | null>(null);
  state = $state<'loading' | 'live' | 'polling' | 'waiting' | 'failed'>('loading');
  problem = $state.raw<Problem | null>(null);
  /** Only the newest rows are here. */
  partial = $state(false);
  users = 0;
  private closers: (() => void)[] = [];
  private closed = false;

  constructor(readonly name: string) {}

  async open(meta: View | undefined): Promise<void> {
    const big = (meta?.rows ?? 0) > STREAM_ROWS_MAX;
    const slot = big ? null : await takeSlot();
    if (slot) this.closers.push(slot);
    if (this.closed) return this.close();
    if (slot) this.follow(meta?.key ?? []);
    else void this.poll(meta?.columns ?? []);
  }

  close(): void {
    this.closed = true;
    for (const c of this.closers.splice(0)) c();
  }

  private follow(key: string[]): void {
    const rows = new ViewRows(key);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      timer = undefined;
      this.columns = rows.columns;
      this.rows = rows.list();
      this.epoch = rows.epoch;
    };
    const stream: Stream = openStream(api.changesUrl(this.name), {
      onState: (s) => {
        if (s.kind === 'waiting') this.state = this.columns.length > 0 ? 'waiting' : 'loading';
        else if (s.kind === 'open' && this.columns.length > 0) this.state = 'live';
      },
      onEvent: (e) => {
        if (e.event === 'resync') return;
        const data = JSON.parse(e.data);
        if (e.event === 'snapshot') {
          rows.snapshot(data as { epoch: number; rows: Row[] });
          this.state = 'live';
          show();
        } else if (e.event === 'changes') {
          rows.apply(data as { epoch: number; changes: Change[] });
          this.state = 'live';
          // Many small epochs make one repaint.
          timer ??= setTimeout(show, 250);
        }
      },
    });
    this.closers.push(() => (stream.close(), clearTimeout(timer)));
  }

  private async poll(known: Column[]): Promise<void> {
    const w = windowColumn(known, []);
    const params: Record<string, string | number> = { limit: POLL_ROWS };
    if (w) params.order = `${w}.start.desc`;
    while (!this.closed) {
      try {
        if (!document.hidden) {
          const answer = await api.rows(this.name, params);
          if (this.closed) return;
          this.columns = answer.columns;
          this.rows = answer.rows;
          this.epoch = answer.epoch ?? null;
          this.partial = Boolean(answer.next);
          this.problem = null;
          this.state = 'polling';
        }
      } catch (e) {
        this.problem = e instanceof ApiError ? e.problem : unexpected(e);
        // A server that does not know the order gives the rows in its own.
        if (this.problem.status === 400 && params.order) delete params.order;
        else this.state = this.problem.status === 404 ? 'failed' : 'waiting';
      }
      await new Promise((go) => setTimeout(go, POLL_MS));
    }
  }
}

const open = new Map<string, LiveView>();

export function acquire(name: string, meta: View | undefined): LiveView {
  let live = open.get(name);
  if (!live) {
    live = new LiveView(name);
    open.set(name, live);
    void live.open(meta);
  }
  live.users++;
  return live;
}

export function release(live: LiveView): void {
  live.users--;
  if (live.users > 0) return;
  open.delete(live.name);
  live.close();
}
