// The data of the fake server: a project of this machine's sensors that moves, with the same names
// and shapes as the demo. A fixed wave instead of chance keeps the pictures the same in each run.

const MINUTE = 60_000;
const column = (name, type, nullable = true) => ({ name, type, nullable });
const WINDOW = 'STRUCT<start TIMESTAMP, end TIMESTAMP>';
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');
const wave = (t, i, low, high, period) =>
  low +
  (high - low) *
    (0.5 + 0.32 * Math.sin(t / period + i * 1.7) + 0.18 * Math.sin(t / (period / 4.3) + i));
const round = (n) => Math.round(n * 1000) / 1000;

const KINDS = [
  {
    topic: 'cpu',
    view: 'cpu_minute',
    by: 'core',
    y: 'percent',
    names: ['cpu0', 'cpu1', 'cpu2', 'cpu3'],
    low: 4,
    high: 88,
    period: 9,
  },
  {
    topic: 'memory',
    view: 'memory_minute',
    by: 'kind',
    y: 'bytes',
    names: ['used', 'cached', 'swap'],
    low: 6e8,
    high: 3.1e9,
    period: 31,
  },
  {
    topic: 'network',
    view: 'network_minute',
    by: 'interface',
    y: 'bytes_per_second',
    names: ['eth0 in', 'eth0 out'],
    low: 2e3,
    high: 4.2e6,
    period: 13,
  },
  {
    topic: 'temperatures',
    view: 'temperature_minute',
    by: 'sensor',
    y: 'celsius',
    names: ['package', 'core 0', 'core 1', 'nvme', 'wifi'],
    low: 38,
    high: 71,
    period: 23,
  },
  {
    topic: 'disks',
    view: 'disk_free',
    by: 'mount',
    y: 'percent',
    names: ['/', '/home', '/boot'],
    low: 30,
    high: 86,
    period: 400,
    total: true,
  },
];

export class World {
  constructor({ empty = false, problems = false } = {}) {
    this.empty = empty;
    this.problems = problems;
    this.started = Date.now();
    this.kinds = empty ? [] : KINDS;
    this.made = [];
    /** What was committed and deleted by hand. */
    this.offsets = new Map();
    this.gone = new Set();
    this.produced = [];
    this.asked = [];
    /** Of dead letters, by id. */
    this.resent = new Map();
    this.deleted = new Set();
    this.refusedAgain = [];
  }

  epoch(now = Date.now()) {
    return Math.floor((now - this.started) / 500) + 1;
  }

  topics(now = Date.now()) {
    return this.kinds.map((k, i) => ({
      name: k.topic,
      format: 'json',
      partitions: 2,
      columns: [
        column(k.by, 'TEXT', false),
        column(k.y, 'DOUBLE'),
        column('at', 'TIMESTAMP', false),
      ],
      watermark: { column: 'at', delay_us: 5_000_000 },
      key: k.by,
      retention_ms: 604_800_000,
      records: 412_000 + i * 7919 + Math.floor((now - this.started) / 100),
      bytes: 48_310_000 + i * 991_000,
      cleanup_policy: 'delete',
      events_per_second: k.names.length,
      bytes_per_second: k.names.length * 118,
      last_arrived: iso(now - 400),
      file: null,
    }));
  }

  tail(topic, n, now = Date.now()) {
    const k = this.kinds.find((k) => k.topic === topic);
    const second = Math.floor(now / 1000);
    return Array.from({ length: n }, (_, i) => {
      const t = second - Math.floor(i / k.names.length);
      const name = k.names[i % k.names.length];
      return {
        partition: i % 2,
        offset: (t - 1_700_000_000) * k.names.length - (i % k.names.length),
        timestamp: iso(t * 1000),
        key: name,
        value: {
          [k.by]: name,
          [k.y]: round(wave(t / 60, i % k.names.length, k.low, k.high, k.period)),
          at: iso(t * 1000),
        },
      };
    });
  }

  partitions(topic, now = Date.now()) {
    const t = this.topics(now).find((t) => t.name === topic);
    return [0, 1].map((partition) => ({
      partition,
      log_start_offset: 1200 * partition,
      last_stable_offset: 206_000 + Math.floor((now - this.started) / 200),
      log_end_offset: 206_000 + Math.floor((now - this.started) / 200),
      records: 206_000 - 1200 * partition + Math.floor((now - this.started) / 200),
      bytes: Math.floor(t.bytes / 2),
      segments: 3 - partition,
      records_per_second: t.events_per_second / 2,
      bytes_per_second: t.bytes_per_second / 2,
      max_timestamp: iso(now - 400),
    }));
  }

  /** Sixty records a partition, one of them no row, one a tombstone. */
  records(topic, q) {
    const k = this.kinds.find((k) => k.topic === topic);
    const second = Math.floor(this.started / 1000);
    const all = Array.from({ length: 120 }, (_, i) => {
      const name = k.names[i % k.names.length];
      const value = { [k.by]: name, [k.y]: round(k.low + i / 7), at: iso((second + i) * 1000) };
      const bad = i === 118;
      const tombstone = i === 117;
      return {
        partition: i % 2,
        offset: Math.floor(i / 2),
        timestamp: iso((second + i) * 1000),
        timestamp_type: 'CreateTime',
        key: name,
        key_encoding: 'text',
        value: tombstone ? null : bad ? 'no json' : value,
        value_encoding: tombstone ? null : bad ? 'text' : 'json',
        value_bytes: tombstone ? 0 : 72,
        headers: i % 3 ? [] : [{ key: 'source', value: 'host', encoding: 'text' }],
        refused: bad,
        batch: {
          base_offset: Math.floor(i / 2),
          records: 1,
          bytes: 164,
          compression: i % 2 ? 'lz4' : 'none',
          producer_id: i % 2 ? 4001 : null,
          producer_epoch: i % 2 ? 0 : null,
          base_sequence: i % 2 ? 7 : null,
          transactional: false,
        },
      };
    });
    const partition = q.get('partition');
    const mine = (r) => !partition || r.partition === Number(partition);
    const limit = Number(q.get('limit') ?? 100);
    let from = q.get('from') ?? 'earliest';
    if (from.includes(':')) from = from.split(',')[0].split(':')[1];
    let found = all.filter((r) => mine(r) && (!q.get('key') || r.key === q.get('key')));
    if (from.startsWith('-')) found = found.slice(Number(from));
    else if (/^\d+$/.test(from)) found = found.filter((r) => r.offset >= Number(from));
    else if (from !== 'earliest') found = found.filter((r) => r.timestamp >= from);
    const page = found.slice(0, limit);
    const last = page.at(-1)?.offset ?? 59;
    return {
      records: page,
      next: `0:${last + 1},1:${last + 1}`,
      end: page.length === found.length,
    };
  }

  objects() {
    const of = (kind, depends) => (o) => ({
      kind,
      name: o.name,
      depends_on: depends(o),
      file: o.file ?? null,
      statement: o.sql ?? `CREATE ${kind.toUpperCase()} ${o.name} …`,
      info: o,
    });
    const status = this.status();
    const all = [
      ...this.topics().map(of('topic', () => [])),
      ...status.sources.map(of('source', (s) => [s.into])),
      ...this.views().map(of('materialized view', (v) => v.depends_on ?? [])),
      ...status.sinks.map(of('sink', () => ['cpu_minute'])),
      ...(this.empty ? [] : [{ name: 'spikes', state: 'running', rows_learned: 1200 }]).map(
        of('model', () => ['cpu_minute']),
      ),
    ];
    const feeds = (from, to) =>
      from.kind === 'source'
        ? from.depends_on.includes(to.name)
        : to.kind !== 'source' && to.depends_on.includes(from.name);
    return all.map((o) => ({ ...o, feeds: all.filter((t) => feeds(o, t)).map((t) => t.name) }));
  }

  operators(view) {
    if (!this.viewKind(view)) return [];
    const of = (operator, name, inputs, state_bytes = 0) => ({
      operator,
      name,
      inputs,
      rows_in: 4000,
      rows_out: 3900,
      rows_per_second: 20,
      groups: state_bytes ? 12 : 0,
      state_bytes,
    });
    return [
      of(1, 'topic cpu', []),
      of(2, 'project', [1]),
      of(3, "aggregate avg(value) by sensor, window(at, '1 minute')", [2], 48_000),
    ];
  }

  groups(now = Date.now()) {
    if (this.empty) return [];
    return [this.group('billing', now), this.group('reports', now)]
      .filter(Boolean)
      .map(({ partitions, members, assignor: _, ...g }) => ({
        ...g,
        members: members.length,
        topics: [...new Set(partitions.map((p) => p.topic))],
      }));
  }

  group(name, now = Date.now()) {
    if (this.empty || this.gone.has(name) || !['billing', 'reports'].includes(name)) return null;
    const live = name === 'billing';
    const member = {
      consumer_id: 'reader-1f0c8e52-7a9d-4f3b-9b1e-0d5c2a6e7f48',
      group_instance_id: null,
      client_id: 'reader',
      host: '/127.0.0.1',
      assignment: [
        { topic: 'cpu', partitions: [0, 1] },
        { topic: 'network', partitions: [0] },
      ],
    };
    const partition = (topic, partition, lag) => {
      const end = 206_000 + Math.floor((now - this.started) / 200);
      const current = this.offsets.get(`${name} ${topic} ${partition}`) ?? end - lag;
      return {
        topic,
        partition,
        current_offset: lag === null ? null : current,
        log_start_offset: 0,
        log_end_offset: end,
        lag: lag === null ? null : end - current,
        metadata: '',
        consumer_id: live ? member.consumer_id : null,
        client_id: live ? member.client_id : null,
        host: live ? member.host : null,
      };
    };
    const partitions = live
      ? [partition('cpu', 0, 0), partition('cpu', 1, 3120), partition('network', 0, 640)]
      : [partition('temperatures', 0, 41_206), partition('temperatures', 1, 18)];
    return {
      group: name,
      state: live ? 'Stable' : 'Empty',
      type: live ? 'Consumer' : 'Classic',
      protocol_type: 'consumer',
      assignor: live ? 'uniform' : '',
      lag: partitions.reduce((sum, p) => sum + p.lag, 0),
      members: live ? [member] : [],
      partitions,
    };
  }

  reset(group, { to, topics, dry_run }) {
    const g = this.group(group);
    const partitions = g.partitions
      .filter((p) => topics.length === 0 || topics.includes(p.topic))
      .map((p) => {
        const wanted =
          { earliest: 0, latest: p.log_end_offset }[to] ??
          (/^[+-]/.test(to) ? p.current_offset + Number(to) : Number(to));
        const new_offset = Math.min(Math.max(wanted, 0), p.log_end_offset);
        return {
          topic: p.topic,
          partition: p.partition,
          current_offset: p.current_offset,
          new_offset,
          lag: p.log_end_offset - new_offset,
          clamped: new_offset !== wanted,
        };
      });
    if (!dry_run) {
      for (const p of partitions)
        this.offsets.set(`${group} ${p.topic} ${p.partition}`, p.new_offset);
    }
    return { group, state: g.state, executed: !dry_run, partitions };
  }

  views(now = Date.now()) {
    return this.kinds.map((k, i) => ({
      name: k.view,
      sql: k.total
        ? `CREATE MATERIALIZED VIEW ${k.view} AS\nSELECT ${k.by}, max(${k.y}) AS ${k.y}\nFROM ${k.topic} GROUP BY ${k.by}`
        : `CREATE MATERIALIZED VIEW ${k.view} AS\nSELECT ${k.by}, window(at, '1 minute') AS w, -- one row a minute\n  avg(${k.y}) AS ${k.y}, count(*) AS n\nFROM ${k.topic} GROUP BY ${k.by}, window(at, '1 minute')`,
      columns: this.columns(k),
      key: k.total ? [k.by] : [k.by, 'w'],
      ...(this.problems && i === 3 ? STOPPED : { state: 'running' }),
      epoch: this.epoch(now),
      rows: k.total ? k.names.length : k.names.length * 60,
      lag_events: i === 2 ? 12 : 0,
      freshness_ms: i === 3 ? null : 180 + i * 35,
      events_per_second: k.names.length,
      watermark: iso(now - 5000),
      state_bytes: 18_400,
      depends_on: [k.topic],
      file: null,
    }));
  }

  columns(k) {
    const by = column(k.by, 'TEXT', false);
    if (k.total) return [by, column(k.y, 'DOUBLE')];
    return [by, column('w', WINDOW, false), column(k.y, 'DOUBLE'), column('n', 'BIGINT', false)];
  }

  rows(k, now = Date.now()) {
    if (k.total) {
      return k.names.map((n, i) => ({
        [k.by]: n,
        [k.y]: round(wave(now / MINUTE, i, k.low, k.high, k.period)),
      }));
    }
    const last = Math.floor(now / MINUTE);
    const out = [];
    for (let m = last - 59; m <= last; m++) {
      for (let i = 0; i < k.names.length; i++) out.push(this.row(k, m, i, now));
    }
    return out;
  }

  row(k, minute, i, now) {
    const seconds = Math.min(60, Math.max(1, Math.floor((now - minute * MINUTE) / 1000)));
    return {
      [k.by]: k.names[i],
      w: { start: iso(minute * MINUTE), end: iso((minute + 1) * MINUTE) },
      [k.y]: round(wave(minute + (seconds < 60 ? seconds / 60 : 0), i, k.low, k.high, k.period)),
      n: seconds,
    };
  }

  viewKind(name) {
    return this.kinds.find((k) => k.view === name);
  }

  status(now = Date.now()) {
    const views = this.views(now).map(({ sql: _, columns: __, ...v }) => v);
    return {
      version: '0.1.0',
      project: this.empty ? 'my-project' : 'sensors',
      ready: true,
      uptime_s: 3720 + (now - this.started) / 1000,
      events_per_second: this.empty ? 0 : 17 + 3 * Math.sin(now / 4000),
      events_total: this.empty ? 0 : 2_061_204 + Math.floor((now - this.started) / 60),
      topics: this.kinds.length,
      views,
      sources: this.empty
        ? []
        : [
            {
              name: 'host',
              connector: 'host',
              into: 'cpu, memory, network, temperatures, disks',
              state: 'running',
              events_per_second: 17,
              events_total: 2_061_204,
            },
          ],
      sinks: this.empty
        ? []
        : [
            {
              name: 'hot',
              connector: 'file',
              state: this.problems ? 'failed' : 'running',
              error: this.problems
                ? {
                    type: 'about:blank',
                    title: 'exhausted',
                    status: 507,
                    code: 'exhausted',
                    sqlstate: '53100',
                    detail: "'hot' gave up after 3 attempts: no space left",
                    hint: 'make room',
                  }
                : undefined,
              waiting_epochs: this.problems ? 7 : 0,
              rows_total: 214,
              delivery: 'exactly_once',
              lag_events: 0,
            },
          ],
      archive: [],
      dead_letters: this.deadLetters().length,
      problems: this.problems ? PROBLEMS : [],
      ports: { pg: 4681, kafka: 4682 },
      memory_bytes: 96_400_000,
      disk_bytes: 241_000_000,
    };
  }

  dashboards() {
    if (this.empty) return [];
    const line = (title, view, y, by) => ({
      title,
      view,
      chart: 'line',
      x: 'w',
      y,
      series: by,
      live: true,
    });
    return [
      {
        name: 'machine',
        title: 'This machine, averages of each minute',
        panels: [
          line('CPU', 'cpu_minute', 'percent', 'core'),
          line('Temperatures', 'temperature_minute', 'celsius', 'sensor'),
          {
            title: 'Memory',
            query: 'SELECT * FROM memory_minute',
            chart: 'line',
            x: 'w.start',
            y: 'bytes',
            series: 'kind',
            live: true,
          },
          {
            title: 'Network',
            query: "SELECT * FROM network_minute WHERE interface LIKE 'eth0%'",
            chart: 'line',
            x: 'w',
            y: 'bytes_per_second',
            series: 'interface',
            live: true,
          },
          {
            title: 'Fans',
            view: 'cpu_minute',
            where: { core: 'none' },
            chart: 'line',
            live: true,
          },
          {
            title: 'One core alone',
            view: 'cpu_minute',
            where: { core: 'cpu1' },
            chart: 'number',
            y: 'percent',
            unit: '%',
            live: true,
          },
          {
            title: 'Disks, used',
            view: 'disk_free',
            chart: 'bar',
            x: 'mount',
            y: 'percent',
            live: true,
          },
        ],
      },
    ];
  }

  deadLetters() {
    return [...this.refusedAgain, ...this.firstLetters()]
      .filter((l) => !this.deleted.has(l.id))
      .map((l) => (this.resent.has(l.id) ? { ...l, resent_at: this.resent.get(l.id) } : l));
  }

  /** Sends letters again: an object whose `percent` is a percentage fits. */
  resend({ ids = [], topic, kind, edited = {} }) {
    const answer = { accepted: 0, refused: 0, left: {} };
    const named = new Set([...ids, ...Object.keys(edited)]);
    for (const l of this.deadLetters()) {
      const meant = named.size
        ? named.has(l.id)
        : (!topic || l.topic === topic) && (!kind || l.kind === kind);
      if (!meant) continue;
      if (l.resent_at) answer.left[l.id] = 'it was sent again already';
      else if (l.view) answer.left[l.id] = 'the event is in the topic: mend the view';
      else {
        const raw = edited[l.id] ?? l.raw;
        this.resent.set(l.id, iso(Date.now()));
        if (fits(raw)) answer.accepted++;
        else {
          answer.refused++;
          const id = String(1001 + this.refusedAgain.length);
          this.refusedAgain.unshift({ ...l, id, raw, at: iso(Date.now()), file: undefined });
        }
      }
    }
    return answer;
  }

  deleteLetters(q) {
    const ids = q.get('ids')?.split(',');
    const gone = this.deadLetters().filter((l) =>
      ids
        ? ids.includes(l.id)
        : (!q.get('topic') || l.topic === q.get('topic')) &&
          (!q.get('kind') || l.kind === q.get('kind')),
    );
    for (const l of gone) this.deleted.add(l.id);
    return { deleted: gone.length };
  }

  firstLetters() {
    if (this.empty) return [];
    const kinds = ['parse', 'type', 'missing', 'check', 'late', 'encoding'];
    const samples = [
      ['not valid JSON: expected "," at column 24', '{"core":"cpu0","percent" 4'],
      [
        '"percent" must be a DOUBLE, got the text "n/a"',
        '{"core":"cpu1","percent":"n/a","at":"2026-11-22T10:00:00Z"}',
      ],
      ['"at" is missing and may not be NULL', '{"core":"cpu1","percent":12.5}'],
      [
        'CHECK (percent BETWEEN 0 AND 100) does not hold',
        '{"core":"cpu3","percent":460.1,"at":"2026-11-22T10:00:00Z"}',
      ],
      [
        'its window closed 42 s before it came',
        '{"core":"cpu2","percent":8.1,"at":"2026-11-22T09:12:00Z"}',
      ],
      ['byte 9 is no valid UTF-8', '{"core":"\uFFFD\uFFFD' + 'x'.repeat(180) + '"}'],
    ];
    return Array.from({ length: 64 }, (_, i) => ({
      id: String(1000 - i),
      at: iso(this.started - i * 47_000),
      topic: i % 5 === 4 ? 'memory' : 'cpu',
      view: kinds[i % 6] === 'late' ? 'cpu_minute' : undefined,
      partition: i % 2,
      file: i % 7 === 3 ? 'exports/cpu-2026-11.ndjson' : undefined,
      line: kinds[i % 6] === 'late' ? undefined : (i % 9) + 1,
      column: [, 'percent', 'at', 'percent'][i % 6],
      kind: kinds[i % 6],
      reason: samples[i % 6][0],
      raw: samples[i % 6][1],
    }));
  }
}

const STOPPED = {
  state: 'failed',
  error: {
    type: 'about:blank',
    title: 'invalid',
    status: 400,
    code: 'invalid',
    sqlstate: '22023',
    detail: 'division by zero in celsius / n',
    hint: "leave such rows out with 'WHERE n <> 0'",
  },
};

const PROBLEMS = [
  {
    type: 'about:blank',
    title: 'invalid',
    status: 400,
    code: 'invalid',
    sqlstate: '42703',
    detail: 'topic "cpu" has no column "percnt"',
    hint: 'did you mean "percent"?',
    place: {
      file: 'views/cpu_minute.sql',
      line: 3,
      column: 7,
      end_line: 3,
      end_column: 13,
      text: '  avg(percnt) AS percent, count(*) AS n',
    },
  },
];

function fits(raw) {
  try {
    const { percent, at } = JSON.parse(raw);
    return typeof percent === 'number' && percent <= 100 && typeof at === 'string';
  } catch {
    return false;
  }
}
