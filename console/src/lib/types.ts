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
  retention_bytes?: number | null;
  cleanup_policy?: string | null;
  records?: number | null;
  bytes?: number | null;
  events_per_second?: number | null;
  bytes_per_second?: number | null;
  last_arrived?: string | null;
}

export interface Partition {
  partition: number;
  log_start_offset: number;
  last_stable_offset: number;
  log_end_offset: number;
  records: number;
  bytes: number;
  segments: number;
  records_per_second?: number | null;
  bytes_per_second?: number | null;
  max_timestamp?: string | null;
}

/** A record as it is in the log; how key and value are to be read stands beside them. */
export interface LogRecord {
  partition: number;
  offset: number;
  timestamp: string;
  timestamp_type: string;
  key: string | null;
  key_encoding: string | null;
  value: unknown;
  value_encoding: string | null;
  value_bytes: number;
  headers: { key: string; value: string | null; encoding: string | null }[];
  refused: boolean;
  error?: string;
  batch: {
    base_offset: number;
    records: number;
    bytes: number;
    compression: string;
    producer_id: number | null;
    producer_epoch: number | null;
    base_sequence: number | null;
    transactional: boolean;
  };
}

export interface LogRecords {
  records: LogRecord[];
  /** To be given as `from`. */
  next: string;
  end: boolean;
}

export interface NewRecord {
  key?: string;
  value: string | null;
  headers?: { key: string; value: string }[];
  partition?: number;
}

export interface Ingested {
  accepted: number;
  refused: number;
  partitions: { partition: number; first_offset: number; last_offset: number }[];
}

export interface Group {
  group: string;
  state: string;
  type: string;
  protocol_type: string;
  members: number;
  topics: string[];
  lag: number | null;
}

export interface GroupMember {
  consumer_id: string;
  group_instance_id: string | null;
  client_id: string;
  host: string;
  assignment: { topic: string; partitions: number[] }[];
}

export interface GroupPartition {
  topic: string;
  partition: number;
  current_offset: number | null;
  log_start_offset: number | null;
  log_end_offset: number | null;
  lag: number | null;
  metadata: string;
  consumer_id: string | null;
  client_id: string | null;
  host: string | null;
}

export interface GroupDetail {
  group: string;
  state: string;
  type: string;
  protocol_type: string;
  assignor: string;
  lag: number | null;
  members: GroupMember[];
  partitions: GroupPartition[];
}

export interface Reset {
  to: string;
  topics: string[];
  dry_run: boolean;
}

export interface ResetPlan {
  group: string;
  state: string;
  executed: boolean;
  partitions: {
    topic: string;
    partition: number;
    current_offset: number | null;
    new_offset: number;
    lag: number;
    clamped: boolean;
  }[];
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
  waiting_epochs?: number | null;
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
  ports?: { pg?: number | null; kafka?: number | null };
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
  file?: string | null;
  line?: number | null;
  column?: string | null;
  kind: string;
  reason: string;
  /** The names of the columns, where `raw` is a line of CSV. */
  header?: string | null;
  resent_at?: string | null;
  raw: string;
  /** In base64, where `raw` is not all of it because it is no text. */
  raw_bytes?: string | null;
}

export interface LettersPage {
  rows: DeadLetter[];
  next?: string | null;
  total?: number;
}

/** Which letters are meant: by id, or all of a topic, a kind, or both. */
export interface ChosenLetters {
  ids?: string[];
  topic?: string;
  kind?: string;
}

export interface Resent {
  accepted: number;
  refused: number;
  /** By id, why it can't be sent again. */
  left: Record<string, string>;
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

/** Anything that is defined, of whatever kind. */
export interface ObjectInfo {
  kind: string;
  name: string;
  depends_on: string[];
  file: string | null;
  statement: string;
  /** As the list of its kind has it. */
  info: Record<string, unknown>;
}
