// Server-sent events over `fetch` streams: EventSource cannot send headers and hides why it failed.
// Reconnects by itself with back-off, resumes by Last-Event-ID, gives up a silent connection, and
// lets go of the line while the page is hidden (a browser grants about six per host).

export interface SseEvent {
  event: string;
  id: string | null;
  data: string;
}

/** Cuts a stream of text into events, wherever the chunks break. */
export class SseParser {
  private buffer = '';
  private event = '';
  private data: string[] = [];
  private id: string | null = null;
  retry: number | null = null;

  push(chunk: string): SseEvent[] {
    this.buffer += chunk;
    const out: SseEvent[] = [];
    let start = 0;
    for (;;) {
      const end = this.buffer.slice(start).search(/\r\n|\n|\r/);
      if (end < 0) break;
      const at = start + end;
      // A lone CR at the end may be the first half of CRLF: wait for the next chunk.
      if (this.buffer[at] === '\r' && at + 1 === this.buffer.length) break;
      this.line(this.buffer.slice(start, at), out);
      start = at + (this.buffer.startsWith('\r\n', at) ? 2 : 1);
    }
    this.buffer = this.buffer.slice(start);
    return out;
  }

  private line(line: string, out: SseEvent[]): void {
    if (line === '') {
      if (this.data.length > 0) {
        out.push({ event: this.event || 'message', id: this.id, data: this.data.join('\n') });
      }
      this.event = '';
      this.data = [];
      return;
    }
    if (line.startsWith(':')) return;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

export type StreamState =
  | { kind: 'connecting' }
  | { kind: 'open' }
  | { kind: 'waiting'; until: number; reason: string }
  | { kind: 'paused' };

export interface StreamOptions {
  onEvent: (event: SseEvent) => void;
  onState?: (state: StreamState) => void;
  /** No byte for so long means that the connection is dead; keep-alives come each 15 s. */
  silentMs?: number;
  fetch?: typeof fetch;
  random?: () => number;
}

/** Waits 0.5 s, 1 s, 2 s … up to 15 s, with some chance so that many tabs do not come at once. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const full = Math.min(15_000, 500 * 2 ** Math.min(failures, 10));
  return Math.round(full * (0.75 + 0.5 * random()));
}

export interface Stream {
  close: () => void;
  /** Ends a wait at once. */
  retryNow: () => void;
}

export function openStream(url: string, options: StreamOptions): Stream {
  const doFetch = options.fetch ?? fetch;
  const state = (s: StreamState) => options.onState?.(s);
  let closed = false;
  let failures = 0;
  let lastId: string | null = null;
  let abort = new AbortController();
  let wake: (() => void) | null = null;

  async function once(): Promise<void> {
    abort = new AbortController();
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (lastId !== null) headers['last-event-id'] = lastId;
    const response = await doFetch(url, { headers, signal: abort.signal, cache: 'no-store' });
    if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`);
    state({ kind: 'open' });
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    const silentMs = options.silentMs ?? 40_000;
    let watchdog = setTimeout(() => abort.abort(), silentMs);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), silentMs);
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          failures = 0;
          if (event.id !== null) lastId = event.id;
          options.onEvent(event);
        }
      }
    } finally {
      clearTimeout(watchdog);
      reader.cancel().catch(() => {});
    }
  }

  async function run(): Promise<void> {
    while (!closed) {
      if (hidden()) {
        state({ kind: 'paused' });
        await new Promise<void>((go) => (wake = go));
        continue;
      }
      state({ kind: 'connecting' });
      let reason = 'the connection ended';
      try {
        await once();
      } catch (e) {
        reason = e instanceof Error ? e.message : String(e);
      }
      if (closed) return;
      if (hidden()) continue;
      const ms = backoffMs(failures++, options.random);
      state({ kind: 'waiting', until: Date.now() + ms, reason });
      await new Promise<void>((go) => {
        const timer = setTimeout(go, ms);
        wake = () => (clearTimeout(timer), go());
      });
    }
  }

  let hide: ReturnType<typeof setTimeout> | undefined;
  const onVisibility = () => {
    clearTimeout(hide);
    if (hidden()) hide = setTimeout(() => abort.abort(), 10_000);
    else wake?.();
  };
  if (typeof document !== 'undefined') {
    document.addEventListener('visibilitychange', onVisibility);
  }
  void run();
  return {
    close() {
      closed = true;
      clearTimeout(hide);
      if (typeof document !== 'undefined') {
        document.removeEventListener('visibilitychange', onVisibility);
      }
      abort.abort();
      wake?.();
    },
    retryNow: () => wake?.(),
  };
}

function hidden(): boolean {
  return typeof document !== 'undefined' && document.hidden;
}
