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
      retention: '7 days',
      records: 412_000 + i * 7919 + Math.floor((now - this.started) / 100),
      bytes: 48_310_000 + i * 991_000,
      events_per_second: k.names.length,
      last_arrived: iso(now - 400),
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

  views(now = Date.now()) {
    return this.kinds.map((k, i) => ({
      name: k.view,
      sql: k.total
        ? `CREATE MATERIALIZED VIEW ${k.view} AS\nSELECT ${k.by}, max(${k.y}) AS ${k.y}\nFROM ${k.topic} GROUP BY ${k.by}`
        : `CREATE MATERIALIZED VIEW ${k.view} AS\nSELECT ${k.by}, window(at, '1 minute') AS w, -- one row a minute\n  avg(${k.y}) AS ${k.y}, count(*) AS n\nFROM ${k.topic} GROUP BY ${k.by}, window(at, '1 minute')`,
      columns: this.columns(k),
      key: k.total ? [k.by] : [k.by, 'w'],
      state: 'running',
      epoch: this.epoch(now),
      rows: k.total ? k.names.length : k.names.length * 60,
      lag_events: i === 2 ? 12 : 0,
      freshness_ms: i === 3 ? null : 180 + i * 35,
      events_per_second: k.names.length,
      watermark: iso(now - 5000),
      depends_on: [k.topic],
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
              state: 'running',
              rows_total: 214,
              delivery: 'exactly_once',
              lag_events: 0,
            },
          ],
      archive: [],
      dead_letters: this.deadLetters().length,
      problems: this.problems ? PROBLEMS : [],
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
          },
          {
            title: 'One core alone',
            view: 'cpu_minute',
            where: { core: 'cpu1' },
            chart: 'number',
            y: 'percent',
            unit: '%',
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
      view: kinds[i % 6] === 'late' ? 'cpu_minute' : null,
      partition: i % 2,
      offset: null,
      line: kinds[i % 6] === 'late' ? null : (i % 9) + 1,
      column: [null, 'percent', 'at', 'percent', null, null][i % 6],
      kind: kinds[i % 6],
      reason: samples[i % 6][0],
      raw: samples[i % 6][1],
    }));
  }
}

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
