// From rows to pictures: axes chosen by themselves, series aligned, holes shown, changes applied.
import { describe, expect, it } from 'vitest';
import { ViewRows } from '../../src/lib/changes.ts';
import { DARK, LIGHT, strokeOf } from '../../src/lib/colors.ts';
import { choose, fieldsOf, latest, plot, resolve, summary, toCsv } from '../../src/lib/plot.ts';
import type { Row } from '../../src/lib/local.ts';
import type { Column } from '../../src/lib/types.ts';

const COLUMNS: Column[] = [
  { name: 'sensor', type: 'TEXT', nullable: true },
  { name: 'w', type: 'STRUCT<start: TIMESTAMP, end: TIMESTAMP>', nullable: true },
  { name: 'n', type: 'BIGINT', nullable: true },
  { name: 'celsius', type: 'DOUBLE', nullable: true },
];
const row = (sensor: string, minute: number, celsius: number | null): Row => ({
  sensor,
  n: 60,
  celsius,
  w: {
    start: `2026-11-22T10:${String(minute).padStart(2, '0')}:00Z`,
    end: `2026-11-22T10:${String(minute + 1).padStart(2, '0')}:00Z`,
  },
});

describe('choose', () => {
  it('takes the window start, the first figure that is no count, the text key', () => {
    const rows = [row('a', 0, 1), row('b', 0, 2)];
    const axes = { x: 'w.start', y: 'celsius', series: 'sensor' };
    expect(choose(fieldsOf(COLUMNS, rows), ['sensor', 'w'], rows)).toEqual(axes);
    expect(choose(fieldsOf(COLUMNS, []), ['sensor', 'w'])).toEqual(axes);
  });

  it('joins text keys when one alone would put two rows on a point', () => {
    const rows = [
      { host: 'h', core: 'a', at: '2026-11-22T10:00:00Z', v: 1 },
      { host: 'h', core: 'b', at: '2026-11-22T10:00:00Z', v: 2 },
    ];
    const columns = [
      { name: 'host', type: 'TEXT', nullable: true },
      { name: 'core', type: 'TEXT', nullable: true },
      { name: 'at', type: 'TIMESTAMP', nullable: true },
      { name: 'v', type: 'DOUBLE', nullable: true },
    ];
    expect(choose(fieldsOf(columns, rows), [], rows)?.series).toBe('host,core');
  });

  it('draws bars over names, lines over numbers, nothing without figures', () => {
    const text = { name: 'title', type: 'TEXT', nullable: true };
    const number = { name: 'plays', type: 'BIGINT', nullable: true };
    expect(choose(fieldsOf([text, number], []), [])).toEqual({
      x: 'title',
      y: 'plays',
      series: '',
    });
    expect(
      choose(
        fieldsOf(
          [
            { name: 'cycle', type: 'BIGINT', nullable: true },
            { name: 's4', type: 'DOUBLE', nullable: true },
          ],
          [],
        ),
        ['cycle'],
      ),
    ).toEqual({ x: 'cycle', y: 's4', series: '' });
    expect(choose(fieldsOf([text], []), [])).toBeNull();
  });

  it('understands paths as dashboards write them', () => {
    const fields = fieldsOf(COLUMNS, [row('a', 0, 1)]);
    expect(['w', 'w.start', 'window.start', 'celsius', ''].map((p) => resolve(p, fields))).toEqual([
      'w.start',
      'w.start',
      'w.start',
      'celsius',
      '',
    ]);
  });
});

describe('plot', () => {
  const axes = { x: 'w.start', y: 'celsius', series: 'sensor' };
  const draw = (rows: Row[]) => plot(rows, axes, fieldsOf(COLUMNS, rows));

  it('aligns series by time, sorts names as people count', () => {
    const p = draw([row('core 10', 1, 3), row('core 2', 0, 1), row('core 2', 1, 2)]);
    expect(p.series.map((s) => s.name)).toEqual(['core 2', 'core 10']);
    expect(p.series.map((s) => s.values)).toEqual([
      [1, 2],
      [undefined, 3],
    ]);
    expect(p.unit).toBe('°C');
  });

  it('breaks the line where all series have a hole, and at NULL', () => {
    const p = draw([0, 1, 2, 3, 20].map((m) => row('a', m, m)));
    expect(p.series[0]!.values).toEqual([0, 1, 2, 3, null, 20]);
    expect(draw([row('a', 0, null)]).series[0]!.values).toEqual([null]);
  });

  it('draws twelve series at most and says how many are left', () => {
    const p = draw(Array.from({ length: 15 }, (_, i) => row(`s${i}`, 0, i)));
    expect([p.series.length, p.omitted]).toEqual([12, 3]);
  });

  it('sums itself up in a sentence', () => {
    const p = draw([row('a', 0, 20), row('b', 1, 31.25)]);
    expect(summary(p)).toMatch(/^2 series, .* to .*, highest b 31\.3 °C at /);
    expect(summary(draw([]))).toBe('No rows yet.');
    expect(latest(p.series[0]!)).toBe(20);
  });

  it('puts bars in order', () => {
    const rows = [
      { title: 'x', plays: 3 },
      { title: 'y', plays: 9 },
      { title: 'z', plays: null },
    ];
    const columns = [
      { name: 'title', type: 'TEXT', nullable: true },
      { name: 'plays', type: 'BIGINT', nullable: true },
    ];
    const p = plot(rows, { x: 'title', y: 'plays', series: '' }, fieldsOf(columns, rows));
    expect([p.kind, p.categories, p.series[0]!.values]).toEqual(['category', ['y', 'x'], [9, 3]]);
  });
});

describe('ViewRows', () => {
  const snapshot = { epoch: 1, columns: COLUMNS, rows: [row('a', 0, 1), row('b', 0, 2)] };

  it.each([[['sensor', 'w']], [[]]])(
    'applies changes in whichever order they come (key %j)',
    (key) => {
      const view = new ViewRows(key);
      view.snapshot(snapshot);
      view.apply({
        epoch: 2,
        changes: [
          { op: '+', row: row('a', 0, 5) },
          { op: '-', row: row('a', 0, 1) },
        ],
      });
      expect(
        view
          .list()
          .map((r) => r.celsius)
          .sort(),
      ).toEqual([2, 5]);
      view.apply({ epoch: 3, changes: [{ op: '-', row: row('b', 0, 2) }] });
      expect(view.list().map((r) => r.celsius)).toEqual([5]);
      expect(view.epoch).toBe(3);
    },
  );

  it('counts equal rows of a view without a key', () => {
    const view = new ViewRows();
    view.snapshot({ epoch: 1, rows: [{ a: 1 }, { a: 1 }] });
    view.apply({ epoch: 2, changes: [{ op: '-', row: { a: 1 } }] });
    expect(view.list()).toEqual([{ a: 1 }]);
  });

  it('starts anew with each snapshot', () => {
    const view = new ViewRows(['sensor', 'w']);
    view.snapshot(snapshot);
    view.snapshot({ epoch: 9, rows: [row('c', 0, 3)] });
    expect(view.list().map((r) => r.sensor)).toEqual(['c']);
  });
});

describe('colours', () => {
  it('reach 3:1 on their ground', () => {
    for (const c of LIGHT) expect(contrast(c, '#ffffff')).toBeGreaterThanOrEqual(3);
    for (const c of DARK) expect(contrast(c, '#141c21')).toBeGreaterThanOrEqual(3);
  });

  it.each(['normal', 'protan', 'deutan'] as const)('stay apart for %s eyes', (eyes) => {
    for (const palette of [LIGHT, DARK]) {
      for (let i = 0; i < palette.length; i++) {
        for (let j = 0; j < i; j++) {
          const d = distance(see(palette[i]!, eyes), see(palette[j]!, eyes));
          expect(d, `${palette[i]} and ${palette[j]}`).toBeGreaterThan(20);
        }
      }
    }
  });

  it('come back dashed from the seventh series on', () => {
    expect(strokeOf(6, false)).toEqual({ color: LIGHT[0], dash: [6, 4] });
    expect(
      new Set(Array.from({ length: 12 }, (_, i) => JSON.stringify(strokeOf(i, true)))).size,
    ).toBe(12);
  });
});

it('writes CSV that a spreadsheet reads', () => {
  const columns = [
    { name: 'a', type: 'TEXT', nullable: true },
    { name: 'b', type: 'TEXT', nullable: true },
  ];
  expect(toCsv(columns, [{ a: 'x,"y"', b: null }])).toBe('a,b\r\n"x,""y""",\r\n');
});

// Machado et al. 2009, severity 1.0, on linear RGB.
const EYES = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protan: [
    0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998,
  ],
  deutan: [
    0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881,
  ],
};

function linear(hex: string): number[] {
  return [1, 3, 5].map((i) => {
    const v = parseInt(hex.slice(i, i + 2), 16) / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
}
function see(hex: string, eyes: keyof typeof EYES): number[] {
  const m = EYES[eyes];
  const c = linear(hex);
  return [0, 3, 6].map((r) =>
    Math.min(1, Math.max(0, m[r]! * c[0]! + m[r + 1]! * c[1]! + m[r + 2]! * c[2]!)),
  );
}
function luminance(hex: string): number {
  const [r, g, b] = linear(hex);
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x! + 0.05) / (y! + 0.05);
}
/** Distance in CIE Lab: about 2 is just seen, 10 is seen at a glance. */
function distance(a: number[], b: number[]): number {
  const [p, q] = [lab(a), lab(b)];
  return Math.hypot(p[0]! - q[0]!, p[1]! - q[1]!, p[2]! - q[2]!);
}
function lab([r, g, b]: number[]): number[] {
  const x = (0.4124 * r! + 0.3576 * g! + 0.1805 * b!) / 0.9505;
  const y = 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  const z = (0.0193 * r! + 0.1192 * g! + 0.9505 * b!) / 1.089;
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  return [116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))];
}
