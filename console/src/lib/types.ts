// The shapes of the REST contract, as `serve` sends them. Optional members are those a server may
// leave out; the pages then say "unknown" instead of drawing a zero.

export interface Column {
  name: string;
  type: string;
  nullable?: boolean;
}

export type Row = Record<string, unknown>;

export interface Place {
  file?: string | null;
  line: number;
  column: number;
  end_line: number;
  end_column: number;
  text: string;
}

/** RFC 9457 problem details, with the members of `common::Error`. */
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  sqlstate?: string;
  hint?: string;
  place?: Place;
}

export interface Topic {
  name: string;
  format: string;
  partitions: number;
  columns: Column[];
  watermark?: { column: string; delay_us: number } | null;
  key?: string | string[] | null;
  retention?: string | null;
  retention_ms?: number | null;
  records?: number | null;
  bytes?: number | null;
  events_per_second?: number | null;
  last_arrived?: string | null;
}

export interface TopicEvent {
  partition: number;
  offset: number;
  timestamp: string;
  key: string | null;
  value: unknown;
}

export interface View {
  name: string;
  sql?: string;
  columns?: Column[];
  key?: string[];
  state: string;
  error?: string | Problem | null;
  epoch?: number | null;
  rows?: number | null;
  lag_events?: number | null;
  freshness_ms?: number | null;
  events_per_second?: number | null;
  watermark?: string | null;
  depends_on?: string[];
}

export interface Source {
  name: string;
  connector: string;
  into: string;
  state: string;
  error?: string | Problem | null;
  events_per_second?: number | null;
  events_total?: number | null;
}

export interface Sink {
  name: string;
  connector: string;
  state: string;
  error?: string | Problem | null;
  rows_total?: number | null;
  delivery?: string | null;
  lag_events?: number | null;
}

export interface Status {
  version: string;
  project?: string | null;
  uptime_s?: number | null;
  ready: boolean;
  events_per_second?: number | null;
  events_total?: number | null;
  topics?: number | null;
  views?: View[];
  sources?: Source[];
  sinks?: Sink[];
  archive?: { topic: string; archived_offset_sum?: number; lag_events?: number; files?: number }[];
  dead_letters?: number | null;
  problems?: Problem[];
  memory_bytes?: number | null;
  disk_bytes?: number | null;
}

export interface Rows {
  columns: Column[];
  rows: Row[];
  epoch?: number;
  next?: string | null;
}

export interface SqlResult {
  columns?: Column[];
  rows?: unknown[][];
  rows_omitted?: boolean;
  elapsed_ms?: number;
  message?: string;
}

export interface DeadLetter {
  id: number | string;
  at: string;
  topic: string;
  view?: string | null;
  partition?: number | null;
  offset?: number | null;
  line?: number | null;
  column?: string | null;
  kind: string;
  reason: string;
  raw: string;
}

export interface Panel {
  title: string;
  query?: string | null;
  view?: string | null;
  chart?: 'line' | 'bar' | 'table' | 'number';
  x?: string | null;
  y?: string | null;
  series?: string | null;
  /** Rows of the view that belong to the panel: column = value. */
  where?: Record<string, string> | null;
  unit?: string | null;
  live?: boolean;
}

export interface Dashboard {
  name: string;
  title?: string | null;
  panels: Panel[];
}
