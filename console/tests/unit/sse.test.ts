// The stream reader: events wherever the chunks break, resuming, back-off, dead connections.
import { describe, expect, it, vi } from 'vitest';
import {
  backoffMs,
  openStream,
  SseParser,
  type SseEvent,
  type StreamState,
} from '../../src/lib/sse.ts';

const TEXT =
  'event: snapshot\nid: 7\ndata: {"a":1}\n\n: keep-alive\n\nid: 8\r\ndata: x\r\ndata: y\r\n\r\n';

describe('SseParser', () => {
  it('gives the same events for every way of cutting the text', () => {
    const whole = new SseParser().push(TEXT);
    expect(whole).toEqual([
      { event: 'snapshot', id: '7', data: '{"a":1}' },
      { event: 'message', id: '8', data: 'x\ny' },
    ]);
    for (let size = 1; size < TEXT.length; size++) {
      const parser = new SseParser();
      const out: SseEvent[] = [];
      for (let i = 0; i < TEXT.length; i += size) out.push(...parser.push(TEXT.slice(i, i + size)));
      expect(out).toEqual(whole);
    }
  });

  it('keeps the last id, ignores comments and unknown fields, reads retry', () => {
    const parser = new SseParser();
    expect(
      parser.push('id: 3\ndata: a\n\nnonsense\nretry: 250\ndata:b\n\n').map((e) => e.id),
    ).toEqual(['3', '3']);
    expect(parser.retry).toBe(250);
    expect(parser.push('event: nothing\n\n')).toEqual([]);
  });

  it('keeps back an event that is not complete', () => {
    expect(new SseParser().push('data: half\n')).toEqual([]);
  });
});

describe('backoffMs', () => {
  it('doubles up to fifteen seconds, with a quarter of chance', () => {
    const middle = () => 0.5;
    expect([0, 1, 2, 5, 30].map((n) => backoffMs(n, middle))).toEqual([
      500, 1000, 2000, 15_000, 15_000,
    ]);
    expect(backoffMs(1, () => 0)).toBe(750);
    expect(backoffMs(1, () => 1)).toBe(1250);
  });
});

function body(text: string, end = true): Response {
  const stream = new ReadableStream<Uint8Array>({
    start(c) {
      c.enqueue(new TextEncoder().encode(text));
      if (end) c.close();
    },
  });
  return new Response(stream, { headers: { 'content-type': 'text/event-stream' } });
}

describe('openStream', () => {
  it('comes back with the last id it saw', async () => {
    const asked: (string | null)[] = [];
    const events: string[] = [];
    const fake = (async (_: string, init: RequestInit) => {
      asked.push(new Headers(init.headers).get('last-event-id'));
      if (asked.length === 2) throw new TypeError('network down');
      return body(`id: ${asked.length * 10}\ndata: n${asked.length}\n\n`);
    }) as typeof fetch;
    vi.useFakeTimers();
    const stream = openStream('/x', {
      onEvent: (e) => events.push(e.data),
      fetch: fake,
      random: () => 0.5,
    });
    await vi.advanceTimersByTimeAsync(2_000);
    stream.close();
    vi.useRealTimers();
    expect(asked.slice(0, 3)).toEqual([null, '10', '10']);
    expect(events.slice(0, 2)).toEqual(['n1', 'n3']);
  });

  it('gives up a connection that says nothing, and tells when it tries again', async () => {
    const states: StreamState['kind'][] = [];
    let calls = 0;
    const fake = (async (_: string, init: RequestInit) => {
      calls++;
      const response = body(': hello\n\n', false);
      const reader = response.body!;
      init.signal!.addEventListener('abort', () => void reader.cancel().catch(() => {}));
      return new Response(
        new ReadableStream({
          start: (c) => init.signal!.addEventListener('abort', () => c.error(new Error('aborted'))),
        }),
      );
    }) as typeof fetch;
    vi.useFakeTimers();
    const stream = openStream('/x', {
      onEvent: () => {},
      onState: (s) => states.push(s.kind),
      fetch: fake,
      silentMs: 1000,
      random: () => 0.5,
    });
    await vi.advanceTimersByTimeAsync(1_800);
    stream.close();
    vi.useRealTimers();
    expect(calls).toBe(2);
    expect(states).toEqual(['connecting', 'open', 'waiting', 'connecting', 'open']);
  });

  it('says why a refused stream waits and stops when closed', async () => {
    const states: StreamState[] = [];
    const fake = vi.fn(async () => new Response('no', { status: 503 })) as unknown as typeof fetch;
    vi.useFakeTimers();
    const stream = openStream('/x', {
      onEvent: () => {},
      onState: (s) => states.push(s),
      fetch: fake,
      random: () => 0.5,
    });
    await vi.advanceTimersByTimeAsync(100);
    stream.close();
    await vi.advanceTimersByTimeAsync(60_000);
    vi.useRealTimers();
    expect(states.at(-1)).toMatchObject({ kind: 'waiting', reason: 'HTTP 503' });
    expect(fake).toHaveBeenCalledTimes(1);
  });
});
