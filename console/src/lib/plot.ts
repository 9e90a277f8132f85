// From rows to a picture: finds out which columns are times, figures and names, chooses the axes,
// and turns rows into aligned series. Pure functions, so that they are tested without a browser.
import { isTime, isWindow, raw, time, unitOf, withUnit } from './format.ts';
import type { Row } from './local.ts';
import type { Column } from './types.ts';

export type Kind = 'time' | 'number' | 'text' | 'other';

export interface Field {
  /** `column`, or `column.member` of a struct. */
  path: string;
  kind: Kind;
}

export interface Axes {
  x: string;
  y: string;
  /** One path, several joined by commas, or '' for a single series. */
  series: string;
}

export interface Series {
  name: string;
  values: (number | null | undefined)[];
}

export interface Plot {
  kind: 'time' | 'number' | 'category';
  xs: number[];
  categories: string[];
  series: Series[];
  /** Series (or bars) there are but not drawn. */
  omitted: number;
  unit: string;
  y: string;
}

export const SERIES_MAX = 12;
export const BARS_MAX = 20;

export function get(row: Row, path: string): unknown {
  if (path in row) return row[path];
  const dot = path.indexOf('.');
  if (dot < 0) return undefined;
  const inner = row[path.slice(0, dot)];
  return inner && typeof inner === 'object' ? (inner as Row)[path.slice(dot + 1)] : undefined;
}

export function fieldsOf(columns: Column[], rows: Row[]): Field[] {
  const out: Field[] = [];
  for (const c of columns) {
    const sample = firstValue(rows, c.name);
    const struct = sample !== null && typeof sample === 'object' && !Array.isArray(sample);
    if (struct) {
      for (const [member, v] of Object.entries(sample as Row)) {
        out.push({ path: `${c.name}.${member}`, kind: kindOf('', v) });
      }
    } else if (/^struct|^window/i.test(c.type) && /start/i.test(c.type)) {
      out.push({ path: `${c.name}.start`, kind: 'time' }, { path: `${c.name}.end`, kind: 'time' });
    } else {
      out.push({ path: c.name, kind: kindOf(c.type, sample) });
    }
  }
  return out;
}

function firstValue(rows: Row[], name: string): unknown {
  for (const r of rows) if (r[name] !== null && r[name] !== undefined) return r[name];
  return null;
}

export function kindOf(type: string, v: unknown): Kind {
  if (/^(timestamp|date)/i.test(type) || isTime(v)) return 'time';
  if (typeof v === 'number' || typeof v === 'bigint') return 'number';
  if (/^(int|bigint|smallint|tinyint|uint|double|float|real|decimal|numeric|long)/i.test(type)) {
    return 'number';
  }
  if (typeof v === 'string' || /^(text|varchar|string|utf8|char|uuid)/i.test(type)) return 'text';
  return typeof v === 'boolean' || /^bool/i.test(type) ? 'text' : 'other';
}

/** Window start against the first figure, one series for each value of the text key. */
export function choose(fields: Field[], key: string[] = [], rows: Row[] = []): Axes | null {
  const times = fields.filter((f) => f.kind === 'time');
  const texts = fields.filter((f) => f.kind === 'text' && f.path !== 'unit');
  const numbers = fields.filter((f) => f.kind === 'number');
  const figures = numbers.filter((f) => !key.includes(f.path));
  const y = figures.find((f) => !/^(n|cnt|count)$/i.test(f.path)) ?? figures[0] ?? numbers[0];
  if (!y) return null;
  const x =
    times.find((f) => f.path.endsWith('.start')) ??
    times[0] ??
    texts[0] ??
    numbers.find((f) => f !== y);
  if (!x) return null;
  if (x.kind === 'text') return { x: x.path, y: y.path, series: '' };
  const keyed = texts.filter((f) => key.includes(f.path));
  const names = (keyed.length > 0 ? keyed : texts).map((f) => f.path);
  // One text column names a series, unless two rows would then share a point.
  let series = names[0] ?? '';
  for (let n = 1; n < names.length && collides(rows, x.path, series); n++) {
    series = names.slice(0, n + 1).join(',');
  }
  return { x: x.path, y: y.path, series };
}

function collides(rows: Row[], x: string, series: string): boolean {
  const seen = new Set<string>();
  for (const r of rows) {
    const id = `${get(r, x)}\u0000${seriesName(r, series)}`;
    if (seen.has(id)) return true;
    seen.add(id);
  }
  return false;
}

export function seriesName(row: Row, series: string): string {
  if (!series) return '';
  return series
    .split(',')
    .map((p) => String(get(row, p.trim()) ?? 'NULL'))
    .join(' · ');
}

/** A path as a dashboard may write it: `w`, `window` and `window.start` all mean the start. */
export function resolve(path: string | null | undefined, fields: Field[]): string {
  if (!path) return '';
  if (path.includes(','))
    return path
      .split(',')
      .map((p) => resolve(p.trim(), fields))
      .join(',');
  if (fields.some((f) => f.path === path)) return path;
  const start = fields.find((f) => f.path === `${path}.start`);
  if (start) return start.path;
  const member = path.includes('.') ? path.slice(path.lastIndexOf('.')) : null;
  const sole = fields.filter((f) => member && f.path.endsWith(member));
  return sole.length === 1 ? sole[0]!.path : path;
}

export function toNumber(v: unknown): number | null {
  if (v === null || v === undefined || v === '') return null;
  const n = typeof v === 'number' ? v : Number(v);
  return Number.isFinite(n) ? n : null;
}

const natural = new Intl.Collator('en', { numeric: true });

export function plot(rows: Row[], axes: Axes, fields: Field[], unit?: string): Plot {
  const kind = fields.find((f) => f.path === axes.x)?.kind ?? 'text';
  const base = { unit: unit || unitFor(rows, axes.y), y: axes.y };
  if (kind !== 'time' && kind !== 'number') return { ...base, ...bars(rows, axes) };

  const names = [...new Set(rows.map((r) => seriesName(r, axes.series)))].sort(natural.compare);
  const drawn = new Map(
    names.slice(0, SERIES_MAX).map((n) => [n, new Map<number, number | null>()]),
  );
  const xs = new Set<number>();
  for (const row of rows) {
    const points = drawn.get(seriesName(row, axes.series));
    const v = get(row, axes.x);
    const x = kind === 'time' ? Date.parse(String(v)) / 1000 : toNumber(v);
    if (!points || x === null || Number.isNaN(x)) continue;
    points.set(x, toNumber(get(row, axes.y)));
    xs.add(x);
  }
  const sorted = [...xs].sort((a, b) => a - b);
  const gaps = kind === 'time' ? gapsIn(sorted) : [];
  const all = gaps.length > 0 ? [...sorted, ...gaps].sort((a, b) => a - b) : sorted;
  const isGap = new Set(gaps);
  // `undefined` is joined over, `null` breaks the line: a hole in all series must be seen.
  const series = [...drawn].map(([name, points]) => ({
    name,
    values: all.map((x) => (isGap.has(x) ? null : points.get(x))),
  }));
  return { ...base, kind, xs: all, categories: [], series, omitted: names.length - drawn.size };
}

function gapsIn(xs: number[]): number[] {
  if (xs.length < 4) return [];
  const steps = xs.slice(1).map((x, i) => x - xs[i]!);
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)]!;
  return xs
    .slice(0, -1)
    .filter((_, i) => steps[i]! > usual * 3.5)
    .map((x) => x + usual);
}

function bars(rows: Row[], axes: Axes): Omit<Plot, 'unit' | 'y'> {
  const all = rows
    .map((r) => ({ name: String(get(r, axes.x) ?? 'NULL'), v: toNumber(get(r, axes.y)) }))
    .filter((b) => b.v !== null)
    .sort((a, b) => b.v! - a.v!);
  const shown = all.slice(0, BARS_MAX);
  return {
    kind: 'category',
    xs: [],
    categories: shown.map((b) => b.name),
    series: [{ name: axes.y, values: shown.map((b) => b.v) }],
    omitted: all.length - shown.length,
  };
}

/** Rows may carry their unit in a column `unit`; else the name of the column tells it. */
function unitFor(rows: Row[], y: string): string {
  const first = rows[0]?.unit;
  if (typeof first === 'string' && first.length < 8 && rows.every((r) => r.unit === first)) {
    return first === 'percent' ? '%' : first === 'celsius' ? '°C' : first;
  }
  return unitOf(y);
}

/** The picture in a sentence, for those who do not see it and for those in a hurry. */
export function summary(p: Plot): string {
  if (p.kind === 'category') {
    const n = p.categories.length;
    if (n === 0) return 'No rows yet.';
    const top = `highest ${p.categories[0]} ${withUnit(p.series[0]?.values[0], p.unit)}`;
    return `${n + p.omitted} bars, ${top}`;
  }
  let best = { v: -Infinity, name: '', x: 0 };
  let points = 0;
  for (const s of p.series) {
    s.values.forEach((v, i) => {
      if (typeof v !== 'number') return;
      points++;
      if (v > best.v) best = { v, name: s.name, x: p.xs[i]! };
    });
  }
  if (points === 0) return 'No rows yet.';
  const at = (x: number) => (p.kind === 'time' ? time(x * 1000) : String(x));
  const all = p.series.length + p.omitted;
  const series = all === 1 ? '' : `${all} series, `;
  const span = p.xs.length === 1 ? at(p.xs[0]!) : `${at(p.xs[0]!)} to ${at(p.xs.at(-1)!)}`;
  const name = best.name ? ` ${best.name}` : '';
  return `${series}${span}, highest${name} ${withUnit(best.v, p.unit)} at ${at(best.x)}`;
}

/** The last known value of each series, as the legend shows it. */
export function latest(s: Series): number | null {
  for (let i = s.values.length - 1; i >= 0; i--) {
    const v = s.values[i];
    if (typeof v === 'number') return v;
  }
  return null;
}

export function windowColumn(columns: Column[], rows: Row[]): string | null {
  for (const c of columns) {
    if (isWindow(firstValue(rows, c.name))) return c.name;
    if (/^struct|^window/i.test(c.type) && /start/i.test(c.type)) return c.name;
  }
  return null;
}

export function toCsv(columns: Column[], rows: Row[]): string {
  const quote = (v: unknown) => {
    const s = v === null || v === undefined ? '' : typeof v === 'object' ? raw(v) : String(v);
    return /[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
  };
  const lines = [
    columns.map((c) => quote(c.name)),
    ...rows.map((r) => columns.map((c) => quote(r[c.name]))),
  ];
  return lines.map((l) => l.join(',')).join('\r\n') + '\r\n';
}
