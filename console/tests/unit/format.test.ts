// Figures as people read them; what is unknown stays unknown.
import { describe, expect, it } from 'vitest';
import { parseJson, toProblem } from '../../src/lib/api.ts';
import * as f from '../../src/lib/format.ts';
import { tokens } from '../../src/lib/sqltext.ts';
import { sampleEvent } from '../../src/lib/samples.ts';

describe('figures', () => {
  it.each([
    [f.compact(0), '0'],
    [f.compact(950), '950'],
    [f.compact(1234), '1,234'],
    [f.compact(12_345), '12.3 k'],
    [f.compact(4_571_000), '4.57 M'],
    [f.compact(2e9), '2 G'],
    [f.compact(-12_345), '-12.3 k'],
    [f.brief(950), '950'],
    [f.brief(12_345), '12k'],
    [f.brief(999_999), '999k'],
    [f.brief(3_400_000), '3M'],
    [f.rate(0), '0/s'],
    [f.rate(13.04), '13.0/s'],
    [f.bytes(0), '0 B'],
    [f.bytes(999), '999 B'],
    [f.bytes(48_310_000), '48.3 MB'],
    [f.bytes(-2000), '-2 kB'],
    [f.duration(0), '0 ms'],
    [f.duration(0.42), '0.42 ms'],
    [f.duration(320), '320 ms'],
    [f.duration(4200), '4.2 s'],
    [f.duration(200_000), '3 min 20 s'],
    [f.duration(7_500_000), '2 h 5 min'],
    [f.duration(273_600_000), '3 d 4 h'],
    [f.duration(604_800_000), '7 d'],
    [f.duration(-1500), '-1.5 s'],
    [f.withUnit(53.94, '%'), '53.9 %'],
    [f.withUnit(3.4e6, 'B/s'), '3.4 MB/s'],
    [f.withUnit(21.5, '°C'), '21.5 °C'],
    [f.withUnit(1.5, 's'), '1.5 s'],
    [f.withUnit(99.97, '%'), '100 %'],
    [f.plain(3_308_961.37), '3308961'],
    [f.withUnit(12, ''), '12'],
  ])('%s', (got, wanted) => expect(got).toBe(wanted));

  it('shows unknown as unknown, never as zero', () => {
    for (const format of [f.count, f.compact, f.rate, f.bytes, f.duration]) {
      expect(format(null)).toBe('unknown');
      expect(format(undefined)).toBe('unknown');
      expect(format(NaN)).toBe('unknown');
    }
    expect(f.ago(null)).toBe('unknown');
    expect(f.lag(null, 5)).toBe('unknown');
  });

  it('tells lag as time where a rate allows it', () => {
    expect(f.lag(0, null)).toBe('up to date');
    expect(f.lag(120, 60)).toBe('≈ 2.0 s');
    expect(f.lag(120, 0)).toBe('120 events');
    expect(f.lag(120, null)).toBe('120 events');
  });

  it('tells the unit of a column by its name', () => {
    const names = [
      'cpu_percent',
      'used_bytes',
      'bytes_per_second',
      'celsius',
      'latency_ms',
      'events_per_second',
      'n',
      'status',
    ];
    expect(names.map(f.unitOf)).toEqual(['%', 'B', 'B/s', '°C', 'ms', '/s', '', '']);
  });
});

describe('cells', () => {
  it('shows NULL, windows and floats', () => {
    expect(f.cell(null)).toBe('NULL');
    expect(f.cell(19.997574627399445)).toBe('19.9976');
    expect(f.cell(1_000_000)).toBe('1000000');
    expect(f.cell({ a: 1 })).toBe('{"a":1}');
    expect(f.cell(12345678901234567890n)).toBe('12345678901234567890');
    const start = new Date();
    start.setHours(10, 0, 0, 0);
    const end = new Date(start.getTime() + 60_000);
    expect(f.cell({ start: start.toISOString(), end: end.toISOString() })).toBe('10:00 – 10:01');
  });

  it('shows the date only when it is another day', () => {
    const now = new Date(2026, 10, 22, 12, 0, 0);
    expect(f.time(new Date(2026, 10, 22, 9, 5, 0), now)).toBe('09:05');
    expect(f.time(new Date(2026, 10, 22, 9, 5, 7, 120), now)).toBe('09:05:07.120');
    expect(f.time(new Date(2026, 10, 3, 9, 5), now)).toBe('3 Nov 09:05');
    expect(f.time(new Date(2025, 0, 3, 9, 5), now)).toBe('3 Jan 2025 09:05');
    expect(f.time('no time')).toBe('no time');
  });
});

describe('answers', () => {
  it('reads JSON with its digits where the engine can tell them', () => {
    const [big] = parseJson('[9007199254740993]') as unknown[];
    // Node 20 does not hand the source text to the reviver yet; browsers do.
    expect(['9007199254740993', '9007199254740992']).toContain(String(big));
    expect(parseJson('{"a":1.5}')).toEqual({ a: 1.5 });
  });

  it('makes a problem of any failed answer', () => {
    expect(toProblem(404, 'Not Found', '{"detail":"no view","code":"not_found"}')).toMatchObject({
      detail: 'no view',
      status: 404,
    });
    expect(toProblem(502, 'Bad Gateway', '<html>')).toMatchObject({
      detail: '<html>',
      code: '502',
    });
    expect(toProblem(500, '', '')).toMatchObject({ detail: 'HTTP 500' });
  });
});

describe('text', () => {
  it('cuts SQL into words without losing a character', () => {
    const sql = "SELECT \"a b\", 'it''s' -- why\nFROM t WHERE x > 1.5 /* c */";
    const cut = tokens(sql);
    expect(cut.map((t) => t.text).join('')).toBe(sql);
    expect(cut.filter((t) => t.kind === 'keyword').map((t) => t.text)).toEqual([
      'SELECT',
      'FROM',
      'WHERE',
    ]);
    expect(cut.filter((t) => t.kind === 'string').map((t) => t.text)).toEqual(["'it''s'"]);
    expect(cut.filter((t) => t.kind === 'comment')).toHaveLength(2);
  });

  it('makes an event from the columns of a topic', () => {
    const columns = [
      { name: 'sensor', type: 'TEXT', nullable: true },
      { name: 'celsius', type: 'DOUBLE', nullable: true },
      { name: 'n', type: 'BIGINT', nullable: true },
      { name: 'at', type: 'TIMESTAMP', nullable: true },
      { name: 'tags', type: 'ARRAY<INT>', nullable: true },
      { name: 'place', type: 'STRUCT<at: DATE>', nullable: true },
      { name: 'day', type: 'DATE', nullable: true },
      { name: '_offset', type: 'BIGINT', nullable: true },
    ];
    expect(sampleEvent(columns, new Date('2026-11-22T10:00:00.5Z'))).toBe(
      '{"sensor":"a","celsius":21.5,"n":1,"at":"2026-11-22T10:00:00Z","tags":[],"place":{},' +
        '"day":"2026-11-22"}',
    );
  });
});

it('what has stopped comes first, the rest in its order', () => {
  const all = ['a', 'b', 'c', 'd'].map((name, i) => ({
    name,
    state: i % 2 ? 'failed' : 'running',
  }));
  expect(f.failedFirst(all).map((v) => v.name)).toEqual(['b', 'd', 'a', 'c']);
});
