// Keeps the rows of a view up to date from its stream: a snapshot replaces all, changes add and
// take away. Apart from the network, so that resuming and resyncing are tested as plain data.
import type { Row } from './local.ts';
import type { Column } from './types.ts';

export interface Change {
  op: '+' | '-';
  row: Row;
}

export class ViewRows {
  columns: Column[] = [];
  epoch: number | null = null;
  private rows = new Map<string, { row: Row; times: number }>();

  constructor(private key: string[] = []) {}

  snapshot(data: { epoch: number; columns?: Column[]; rows: Row[] }): void {
    this.rows.clear();
    this.epoch = data.epoch;
    if (data.columns) this.columns = data.columns;
    for (const row of data.rows) this.add(row);
  }

  apply(data: { epoch: number; changes: Change[] }): void {
    this.epoch = data.epoch;
    // Taking away first keeps the order of "+ new" and "- old" of one key from mattering.
    for (const c of data.changes) if (c.op === '-') this.remove(c.row);
    for (const c of data.changes) if (c.op === '+') this.add(c.row);
  }

  list(): Row[] {
    const out: Row[] = [];
    for (const { row, times } of this.rows.values()) for (let i = 0; i < times; i++) out.push(row);
    return out;
  }

  private id(row: Row): string {
    const keyed = this.key.length > 0 && this.key.every((k) => k in row);
    return text(keyed ? this.key.map((k) => row[k]) : row);
  }

  private add(row: Row): void {
    const id = this.id(row);
    const old = this.rows.get(id);
    if (old && this.key.length === 0) old.times++;
    else this.rows.set(id, { row, times: 1 });
  }

  private remove(row: Row): void {
    const id = this.id(row);
    const old = this.rows.get(id);
    if (!old) return;
    if (old.times > 1) old.times--;
    else this.rows.delete(id);
  }
}

function text(v: unknown): string {
  return JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? `${x}n` : x));
}
