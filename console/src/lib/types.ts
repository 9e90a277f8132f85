// The shapes of the REST contract, made from /api/openapi.json by `make bless`. Do not edit: the
// types are Rust structs. What only the console needs stands in `local.ts`.

export interface Archive {
  topic: string;
  archived_offset_sum: number;
  lag_events: number;
}

/** Partitions of a topic that a member reads. */
export interface AssignedTopic {
  topic: string;
  partitions: number[];
}

/** What was written. */
export interface Backup {
  to: string;
  at: string;
  records: number;
  files: number;
  bytes: number;
}

/** Where a copy goes. */
export interface BackupRequest {
  /** Folder, seen from the project's. */
  to: string;
}

/** A row that came or went. */
export interface Change {
  /** `+` or `-`. */
  op: string;
  row: Record<string, unknown>;
}

/** What an epoch changed. */
export interface Changes {
  epoch: number;
  changes: Change[];
}

/** A column as REST shows it. */
export interface Column {
  name: string;
  type: string;
  nullable: boolean;
}

/** A page of charts, from `dashboards/<name>.toml`. */
export interface Dashboard {
  name: string;
  title: string;
  panels: Panel[];
}

/** A letter as the console shows it. */
export interface DeadLetter {
  id: string;
  at: string;
  topic: string;
  view?: string;
  partition?: number;
  offset?: number;
  file?: string;
  line?: number;
  column?: string;
  kind: string;
  reason: string;
  header?: string;
  resent_at?: string;
  raw: string;
  /** In base64, where `raw` is not all of it because it is no text. */
  raw_bytes?: string;
}

/** A page, newest first. */
export interface DeadLetters {
  rows: DeadLetter[];
  next: string | null;
  total: number;
}

/** Which records are to be deleted. */
export interface DeleteRecords {
  partitions: RecordsBefore[];
}

/** The group that is gone. */
export interface DeletedGroup {
  deleted: string;
}

/** How many letters are gone. */
export interface DeletedLetters {
  deleted: number;
}

/** Where a partition begins after a deletion. */
export interface DeletedRecords {
  partition: number;
  /** Kafka's name for the new start offset. */
  low_watermark: number;
}

/** Events of a topic. */
export interface Events {
  events: TopicEvent[];
  /** By partition, where to go on; not for the last events. */
  next?: Record<string, number>;
}

/** A group in a list of all. */
export interface Group {
  group: string;
  /**
   * Kafka's name of the state: Empty, PreparingRebalance, CompletingRebalance, Stable; of a group
   * by KIP-848 also Assigning and Reconciling.
   */
  state: string;
  /** "Classic" or "Consumer" (KIP-848). */
  type: string;
  protocol_type: string;
  members: number;
  /** Topics it committed offsets of, or reads. */
  topics: string[];
  /** Records between the committed offsets and the ends of the log; none before a first commit. */
  lag: number | null;
}

/** A group with its members and partitions. */
export interface GroupDetail {
  group: string;
  state: string;
  type: string;
  protocol_type: string;
  /** How partitions are assigned: the protocol that the members chose, or the server's assignor. */
  assignor: string;
  lag: number | null;
  members: GroupMember[];
  partitions: GroupPartition[];
}

/** A member of a group. */
export interface GroupMember {
  consumer_id: string;
  /** `group.instance.id` of a static member (KIP-345). */
  group_instance_id: string | null;
  client_id: string;
  /** Address of the client, as Kafka shows it: "/127.0.0.1". */
  host: string;
  assignment: AssignedTopic[];
}

/** How far a group has read a partition. */
export interface GroupPartition {
  topic: string;
  partition: number;
  /** The committed offset: the next one to be read. None before a commit. */
  current_offset: number | null;
  /** None when the topic or partition is not there (any more). */
  log_start_offset: number | null;
  log_end_offset: number | null;
  /** Offsets between the two, also where a compacted log has no records. */
  lag: number | null;
  /** What was committed with the offset, for the client's own use. */
  metadata: string;
  /** The member that reads it now. */
  consumer_id: string | null;
  client_id: string | null;
  host: string | null;
}

/** Answer to an ingest. */
export interface Ingested {
  accepted: number;
  refused: number;
  partitions: PartitionRange[];
  errors: RefusedLine[];
  errors_omitted?: number;
}

/** The batch in which a record came. */
export interface LogBatch {
  base_offset: number;
  records: number;
  /** As it is stored. */
  bytes: number;
  /** Kafka's `compression.type`. */
  compression: string;
  /** Of idempotent and transactional producers (KIP-98). */
  producer_id: number | null;
  producer_epoch: number | null;
  base_sequence: number | null;
  transactional: boolean;
}

/** A header of a record. */
export interface LogHeader {
  key: string;
  value: string | null;
  encoding: string | null;
}

/** A record of a topic. */
export interface LogRecord {
  partition: number;
  offset: number;
  timestamp: string;
  /** "CreateTime" or "LogAppendTime" (KIP-32). */
  timestamp_type: string;
  key: string | null;
  /** How `key` is to be read: "text", "base64", or none of both without a key. */
  key_encoding: string | null;
  /** Null for a tombstone. */
  value: unknown;
  /** How `value` is to be read: "json", "text", "base64", or none of them for a tombstone. */
  value_encoding: string | null;
  /** Size of the value in bytes. */
  value_bytes: number;
  headers: LogHeader[];
  /** It is no row of the topic; the dead letters say why. */
  refused: boolean;
  /** Why it cannot be read. */
  error?: string;
  batch: LogBatch;
}

/** A page of records. */
export interface LogRecords {
  records: LogRecord[];
  /** To be given as `from`. */
  next: string;
  /** There is no more. */
  end: boolean;
}

/** A header of a new record. */
export interface NewHeader {
  key: string;
  value?: string;
  /** text (if left out) or base64. */
  encoding?: string | null;
}

/** A record to be appended. */
export interface NewRecord {
  key?: string | null;
  /** text (if left out) or base64. */
  key_encoding?: string | null;
  /** A text, or any JSON; null is a tombstone. */
  value?: unknown;
  /** text, json or base64. */
  value_encoding?: string | null;
  headers?: NewHeader[];
  /** As the key says, if left out. */
  partition?: number | null;
}

/** Records to be appended. */
export interface NewRecords {
  records: NewRecord[];
}

/** An object of any kind: where it stands in the flow of events, and what its kind says of it. */
export interface ObjectInfo {
  kind: string;
  name: string;
  /** What it reads, and for a source the topic that it writes into. */
  depends_on: string[];
  /** What its events go into next. */
  feeds: string[];
  /** Where it is defined; nothing when it was typed in at run time. */
  file: string | null;
  /** The statement that made it, without its secrets. */
  statement: string;
  /** As the list of its kind has it. */
  info: Record<string, unknown>;
}

/** An operator of what keeps a view up to date, or fills a sink. */
export interface Operator {
  operator: number;
  /** What it does, as `EXPLAIN` has it. */
  name: string;
  /** The operators that it reads. */
  inputs: number[];
  /** Since the start. */
  rows_in: number;
  rows_out: number;
  rows_per_second: number | null;
  /** Keys, windows or partitions that it keeps something for. */
  groups: number;
  state_bytes: number;
}

/** A chart or table of a dashboard. */
export interface Panel {
  title: string;
  view?: string;
  query?: string;
  chart: 'line' | 'bar' | 'number' | 'table';
  x?: string;
  y?: string;
  series?: string;
  /** Rows of the view that belong to this panel: column = value. */
  where?: Record<string, string>;
  unit?: string;
  live: boolean;
}

/** Figures of a partition. */
export interface Partition {
  partition: number;
  /** The oldest offset that is kept. */
  log_start_offset: number;
  /** Below it all records are durable and all transactions have ended (KIP-98). */
  last_stable_offset: number;
  /** The high watermark: after the last durable record. */
  log_end_offset: number;
  /** Offsets between start and end, also where a compacted log has no records. */
  records: number;
  /** On disk. */
  bytes: number;
  segments: number;
  /** Over the last ten seconds; none before there are two samples. */
  records_per_second: number | null;
  bytes_per_second: number | null;
  /** The largest timestamp of its records (KIP-734). */
  max_timestamp: string | null;
}

export interface PartitionRange {
  partition: number;
  first_offset: number;
  last_offset: number;
}

/** A place in a text. Lines and columns are counted from 1, columns in characters. */
export interface Place {
  /** Nothing for a text that came in a request. */
  file: string | null;
  line: number;
  column: number;
  end_line: number;
  end_column: number;
  /** The line; empty when nobody could read it. */
  text: string;
}

/** Where the other doors listen, if they do. */
export interface Ports {
  pg: number | null;
  kafka: number | null;
}

/** Problem details (RFC 9457). An answer may add members of its own. */
export interface Problem {
  type: string;
  /** The kind, in words. */
  title: string;
  /** Of HTTP. */
  status: number;
  /** What went wrong. */
  detail: string;
  /** The kind, for programs. */
  code: string;
  /** As the Postgres door gives it. */
  sqlstate: string;
  /** What to do. */
  hint?: string;
  /** Where in the text that was given, or in a file of the project. */
  place?: Place;
  [more: string]: unknown;
}

/** Whether data can be taken and given. */
export interface Ready {
  ready: boolean;
  /** What is in the way of a part only. */
  problems: Problem[];
}

/** What was asked to begin anew. */
export interface Rebuilt {
  rebuilt: string;
}

/** Records of a partition. */
export interface RecordsBefore {
  partition: number;
  /** The first that is kept; -1 stands for none. */
  offset: number;
}

export interface RefusedLine {
  line: number;
  column: string | null;
  reason: string;
  code: string;
}

/** Which letters are sent again. */
export interface Resend {
  ids?: string[];
  topic?: string | null;
  kind?: string | null;
  /** What is sent in the place of a letter's bytes, by its id. */
  edited?: Record<string, string>;
}

/** What became of them. */
export interface Resent {
  accepted: number;
  /** Refused again: each has a new letter with the reason. */
  refused: number;
  /** Those that can't be sent again, by id, and why. */
  left: Record<string, string>;
}

/** Where the offsets of a group are to be set. */
export interface Reset {
  /** earliest, latest, current, an offset, a shift (`+5`, `-5`) or a time. */
  to: string;
  /** Names, or `topic:0,1`. None: all that the group committed. */
  topics?: string[];
  /** Only says what would change. */
  dry_run?: boolean;
}

/** A partition of a plan. */
export interface ResetPartition {
  topic: string;
  partition: number;
  current_offset: number | null;
  new_offset: number;
  /** What would be left to read then. */
  lag: number;
  /** The wanted offset is not in the log: the nearest one that is was taken. */
  clamped: boolean;
}

/** What a reset does, or would do. */
export interface ResetPlan {
  group: string;
  state: string;
  /** The offsets are set. */
  executed: boolean;
  partitions: ResetPartition[];
}

/** A page of rows. */
export interface Rows {
  columns: Column[];
  rows: Record<string, unknown>[];
  /** The commit of the view that they are of. */
  epoch: number;
  /** To be given as `after`. */
  next: string | null;
  /** Why the view stands still, if it does. */
  stopped?: string;
}

export interface Sink {
  name: string;
  connector: string;
  state: string;
  error?: Problem;
  rows_total: number;
  delivery: string;
  lag_events: number;
  waiting_epochs: number;
}

export interface Source {
  name: string;
  connector: string;
  into: string;
  state: string;
  error?: Problem;
  events_per_second: number | null;
  events_total: number;
}

/** A statement to be run. */
export interface SqlRequest {
  query: string;
  /** Rows at most. */
  limit?: number | null;
}

/** What a statement gave: rows, or a message. */
export interface SqlResult {
  columns?: Column[];
  /** Values in the order of the columns. */
  rows?: unknown[][];
  /** There are more than the answer has room for. */
  rows_omitted?: boolean;
  /** What a statement without rows did. */
  message?: string;
  /** Of INSERT, UPDATE, DELETE and MERGE. */
  rows_written?: number;
  elapsed_ms: number;
}

export interface Status {
  version: string;
  project: string;
  uptime_s: number;
  ready: boolean;
  events_per_second: number | null;
  events_total: number;
  topics: number;
  views: View[];
  sources: Source[];
  sinks: Sink[];
  archive: Archive[];
  dead_letters: number;
  problems: Problem[];
  ports: Ports;
  memory_bytes: number | null;
  disk_bytes: number;
}

export interface Topic {
  name: string;
  format: string;
  partitions: number;
  columns: Column[];
  watermark?: Watermark;
  key?: string;
  retention_ms?: number;
  retention_bytes?: number;
  /** Kafka's `cleanup.policy`: delete, compact, or both. */
  cleanup_policy: 'delete' | 'compact' | 'compact,delete';
  records: number;
  bytes: number;
  events_per_second: number | null;
  bytes_per_second: number | null;
  /** When the newest event in the log arrived. */
  last_arrived: string | null;
  file: string | null;
}

/** An event as it was taken. */
export interface TopicEvent {
  partition: number;
  offset: number;
  timestamp: string;
  key: string | null;
  /** JSON if it is JSON, else a text. */
  value: unknown;
}

/** How a view is defined. */
export interface View {
  name: string;
  sql?: string;
  columns?: Column[];
  key: string[];
  state: string;
  /** It is made anew, and readers get the rows of before until it has caught up. */
  serves_previous?: boolean;
  error?: Problem;
  epoch: number;
  rows: number;
  lag_events: number;
  freshness_ms: number | null;
  events_per_second: number | null;
  watermark?: string;
  state_bytes: number;
  depends_on: string[];
  file: string | null;
}

export interface Watermark {
  column: string;
  delay_us: number;
}
