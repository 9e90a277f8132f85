// Where each object stands in a drawing of the flow of events: from left to right, each one a
// column behind the last of those that feed it. Nothing that is defined feeds itself.
import type { ObjectInfo } from './types.ts';

export interface Place {
  object: ObjectInfo;
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

export function lineage(objects: ObjectInfo[]): Lineage {
  const byName = new Map(objects.map((o) => [o.name, o]));
  const fed = (o: ObjectInfo) => o.feeds.filter((name) => byName.has(name));
  const column = new Map<string, number>(objects.map((o) => [o.name, 0]));
  // As many rounds as the longest way has steps.
  for (let moved = true, rounds = 0; moved && rounds < objects.length; rounds += 1) {
    moved = false;
    for (const o of objects) {
      const next = (column.get(o.name) ?? 0) + 1;
      for (const name of fed(o)) {
        if ((column.get(name) ?? 0) >= next) continue;
        column.set(name, next);
        moved = true;
      }
    }
  }
  const places = new Map<string, Place>();
  const columns = Math.max(-1, ...column.values()) + 1;
  const feeders = (name: string) => objects.filter((o) => o.feeds.includes(name));
  let rows = 0;
  for (let at = 0; at < columns; at += 1) {
    // Beside what feeds it, so that few lines cross.
    const height = (o: ObjectInfo) => {
      const from = feeders(o.name).map((f) => places.get(f.name)?.row ?? 0);
      return from.length ? from.reduce((a, b) => a + b, 0) / from.length : objects.indexOf(o);
    };
    const here = objects.filter((o) => column.get(o.name) === at);
    const sorted = here.map((o) => ({ o, h: height(o) })).sort((a, b) => a.h - b.h);
    sorted.forEach(({ o }, row) => places.set(o.name, { object: o, column: at, row }));
    rows = Math.max(rows, here.length);
  }
  const edges = objects.flatMap((o) =>
    fed(o).map((name) => ({ from: places.get(o.name)!, to: places.get(name)! })),
  );
  return { places: [...places.values()], edges, columns, rows };
}
