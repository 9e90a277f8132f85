// Where each step stands in a drawing of the flow of events, from left to right: behind all that
// feed it and next to the first that it feeds, so that lines are short. Nothing feeds itself.
import { bytes, lag, rate } from './format.ts';
import { pageOf, stateOf } from './objects.ts';
import type { ObjectInfo, Operator } from './types.ts';

/** What a box shows: an object of the catalog, or an operator. */
export interface Step {
  /** By which `feeds` names it. */
  id: string;
  kind: string;
  title: string;
  /** How it goes. */
  figure: string;
  tone: '' | 'warn' | 'bad';
  href?: string;
  feeds: string[];
}

export function stepOf(o: ObjectInfo): Step {
  const { events_per_second: eps, lag_events: behind } = o.info;
  const state = stateOf(o) ?? '';
  const parts = [
    typeof eps === 'number' ? rate(eps) : '',
    typeof behind === 'number' && behind > 0 ? `${lag(behind, null)} behind` : '',
  ].filter(Boolean);
  return {
    id: o.name,
    kind: o.kind.replace('materialized ', ''),
    title: o.name,
    figure: parts.join(' · ') || state,
    tone: state === 'failed' ? 'bad' : /fail|error|stopped|wait/.test(state) ? 'warn' : '',
    href: pageOf(o),
    feeds: o.feeds,
  };
}

export function stepsOf(operators: Operator[]): Step[] {
  return operators.map((o) => ({
    id: String(o.operator),
    kind: '',
    title: o.name,
    figure: [
      `${rate(o.rows_per_second)} in`,
      o.state_bytes > 0 ? `keeps ${bytes(o.state_bytes)}` : '',
    ]
      .filter(Boolean)
      .join(' · '),
    tone: '',
    feeds: operators
      .filter((other) => other.inputs.includes(o.operator))
      .map((other) => String(other.operator)),
  }));
}

export interface Place {
  step: Step;
  column: number;
  /** Among those of its column, from the top. */
  row: number;
}

export interface Lineage {
  places: Place[];
  /** By places: what feeds what. */
  edges: { from: Place; to: Place }[];
  columns: number;
  rows: number;
}

export function lineage(steps: Step[]): Lineage {
  const known = new Set(steps.map((s) => s.id));
  const fed = (s: Step) => s.feeds.filter((id) => known.has(id));
  const column = new Map<string, number>(steps.map((s) => [s.id, 0]));
  // As many rounds as the longest way has steps.
  for (let moved = true, rounds = 0; moved && rounds < steps.length; rounds += 1) {
    moved = false;
    for (const s of steps) {
      const next = (column.get(s.id) ?? 0) + 1;
      for (const id of fed(s)) {
        if ((column.get(id) ?? 0) >= next) continue;
        column.set(id, next);
        moved = true;
      }
    }
  }
  for (let moved = true, rounds = 0; moved && rounds < steps.length; rounds += 1) {
    moved = false;
    for (const s of steps) {
      const next = Math.min(...fed(s).map((id) => column.get(id) ?? 0)) - 1;
      if (!Number.isFinite(next) || next <= (column.get(s.id) ?? 0)) continue;
      column.set(s.id, next);
      moved = true;
    }
  }
  const places = new Map<string, Place>();
  const columns = Math.max(-1, ...column.values()) + 1;
  const feeders = (id: string) => steps.filter((s) => s.feeds.includes(id));
  let rows = 0;
  for (let at = 0; at < columns; at += 1) {
    // Beside what feeds it, so that few lines cross.
    const height = (s: Step) => {
      const from = feeders(s.id).map((f) => places.get(f.id)?.row ?? 0);
      return from.length ? from.reduce((a, b) => a + b, 0) / from.length : steps.indexOf(s);
    };
    const here = steps.filter((s) => column.get(s.id) === at);
    const sorted = here.map((s) => ({ s, h: height(s) })).sort((a, b) => a.h - b.h);
    sorted.forEach(({ s }, row) => places.set(s.id, { step: s, column: at, row }));
    rows = Math.max(rows, here.length);
  }
  const edges = steps.flatMap((s) =>
    fed(s).map((id) => ({ from: places.get(s.id)!, to: places.get(id)! })),
  );
  return { places: [...places.values()], edges, columns, rows };
}
