// Figures as people read them: with a unit, short, and "unknown" where nothing is known. Times are
// shown in the reader's own zone; results carry them in UTC.

export const UNKNOWN = 'unknown';
type Maybe = number | null | undefined;

const known = (n: Maybe): n is number => typeof n === 'number' && Number.isFinite(n);

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(n: Maybe): string {
  return known(n) ? grouped.format(n) : UNKNOWN;
}

/** "950", "12.3 k", "4.57 M": three digits that matter. */
export function compact(n: Maybe): string {
  if (!known(n)) return UNKNOWN;
  const abs = Math.abs(n);
  if (abs >= 1e9) return `${digits(n / 1e9)} G`;
  if (abs >= 1e6) return `${digits(n / 1e6)} M`;
  if (abs >= 1e4) return `${digits(n / 1e3)} k`;
  return abs >= 1000 ? grouped.format(n) : digits(n);
}

export function rate(n: Maybe): string {
  return known(n) ? `${compact(n)}/s` : UNKNOWN;
}

export function bytes(n: Maybe): string {
  if (!known(n)) return UNKNOWN;
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  let v = Math.abs(n);
  while (v >= 1000 && i < units.length - 1) ((v /= 1000), i++);
  return `${n < 0 ? '-' : ''}${i === 0 ? Math.round(v) : digits(v)} ${units[i]}`;
}

/** How long a topic keeps its records. */
export function kept(t: {
  retention_ms?: Maybe;
  retention_bytes?: Maybe;
  cleanup_policy?: string | null;
}): string {
  if (t.cleanup_policy === 'compact') return 'last of each key';
  const size = known(t.retention_bytes) ? `${bytes(t.retention_bytes)} a partition` : '';
  const time = known(t.retention_ms) ? duration(t.retention_ms) : '';
  return [time, size].filter(Boolean).join(', ') || 'ever';
}

/** Milliseconds as "0.4 ms", "320 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(ms: Maybe): string {
  if (!known(ms)) return UNKNOWN;
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 1000) return `${digits(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const whole = Math.round(s);
  const two = (big: number, a: string, small: number, b: string) =>
    small ? `${big} ${a} ${small} ${b}` : `${big} ${a}`;
  if (whole < 3600) return two(Math.floor(whole / 60), 'min', whole % 60, 's');
  const min = Math.round(whole / 60);
  if (min < 1440) return two(Math.floor(min / 60), 'h', min % 60, 'min');
  const h = Math.round(min / 60);
  return two(Math.floor(h / 24), 'd', h % 24, 'h');
}

/** A time without the fraction of its second. */
export function clock(v: string | number): string {
  return time(Math.floor(new Date(v).getTime() / 1000) * 1000);
}

/** What has stopped comes before what runs; else the order stays. */
export function failedFirst<T extends { state: string }>(all: T[]): T[] {
  return [...all].sort((a, b) => Number(b.state === 'failed') - Number(a.state === 'failed'));
}

/** A count where there is room for four characters: "950", "12k", "3M". */
export function brief(n: number): string {
  if (n < 1000) return String(n);
  return n < 1e6 ? `${Math.floor(n / 1000)}k` : `${Math.floor(n / 1e6)}M`;
}

/** How far a view is behind, in time where a rate allows it. */
export function lag(events: Maybe, perSecond: Maybe): string {
  if (!known(events)) return UNKNOWN;
  if (events === 0) return 'up to date';
  if (!known(perSecond) || perSecond <= 0) return `${compact(events)} events`;
  return `≈ ${duration((events / perSecond) * 1000)}`;
}

export function ago(iso: string | null | undefined, now = Date.now()): string {
  const at = iso ? Date.parse(iso) : NaN;
  if (Number.isNaN(at)) return UNKNOWN;
  const ms = now - at;
  return ms < 1500 ? 'just now' : `${duration(Math.round(ms / 1000) * 1000)} ago`;
}

const p2 = (n: number) => String(n).padStart(2, '0');

/** "10:42", with seconds and fractions only where there are any; with the date when not today. */
export function time(v: string | number | Date, now = new Date()): string {
  const d = new Date(v);
  if (Number.isNaN(d.getTime())) return String(v);
  let t = `${p2(d.getHours())}:${p2(d.getMinutes())}`;
  if (d.getSeconds() || d.getMilliseconds()) t += `:${p2(d.getSeconds())}`;
  if (d.getMilliseconds()) t += `.${String(d.getMilliseconds()).padStart(3, '0')}`;
  if (d.toDateString() === now.toDateString()) return t;
  const day = `${d.getDate()} ${MONTHS[d.getMonth()]}`;
  return d.getFullYear() === now.getFullYear() ? `${day} ${t}` : `${day} ${d.getFullYear()} ${t}`;
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** "UTC+1", for the note beside local times. */
export function zone(d = new Date()): string {
  const min = -d.getTimezoneOffset();
  const h = Math.floor(Math.abs(min) / 60);
  const rest = Math.abs(min) % 60;
  return min === 0 ? 'UTC' : `UTC${min < 0 ? '-' : '+'}${h}${rest ? `:${p2(rest)}` : ''}`;
}

const ISO = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/;

export function isTime(v: unknown): v is string {
  return typeof v === 'string' && v.length >= 16 && ISO.test(v);
}

export function isWindow(v: unknown): v is { start: string; end: string } {
  return (
    typeof v === 'object' &&
    v !== null &&
    isTime((v as { start?: unknown }).start) &&
    isTime((v as { end?: unknown }).end)
  );
}

/** A value in a table cell; the full text goes into the cell's title. */
export function cell(v: unknown): string {
  if (v === null || v === undefined) return 'NULL';
  if (typeof v === 'number') return plain(v);
  if (isTime(v)) return time(v);
  if (isWindow(v)) return `${time(v.start)} – ${time(v.end)}`;
  if (typeof v === 'object') return raw(v);
  return String(v);
}

export function raw(v: unknown): string {
  if (typeof v === 'string') return v;
  return JSON.stringify(v, (_, x) => (typeof x === 'bigint' ? String(x) : x)) ?? '';
}

/** A float with six digits that matter; whole numbers as they are. */
export function plain(n: number): string {
  if (Number.isInteger(n)) return String(n);
  const abs = Math.abs(n);
  if (abs >= 1e6 && abs < 1e15) return n.toFixed(0);
  return String(Number(n.toPrecision(6)));
}

/** The unit that a column's name tells, or ''. */
export function unitOf(column: string): string {
  const name = column.toLowerCase();
  for (const [pattern, unit] of UNITS) if (pattern.test(name)) return unit;
  return '';
}

const UNITS: [RegExp, string][] = [
  [/bytes_per_s(econd)?$/, 'B/s'],
  [/bytes$/, 'B'],
  [/(celsius|temperature|_temp|^temp)$/, '°C'],
  [/(percent|pct|usage_percent)$/, '%'],
  [/(_ms|millis|milliseconds)$/, 'ms'],
  [/(_us|micros)$/, 'µs'],
  [/(_s|seconds)$/, 's'],
  [/per_s(econd)?$/, '/s'],
  [/watts?$/, 'W'],
  [/volts?$/, 'V'],
  [/(hertz|_hz)$/, 'Hz'],
];

export function withUnit(v: number | null | undefined, unit: string): string {
  if (!known(v)) return UNKNOWN;
  if (unit === 'B' || unit === 'bytes') return bytes(v);
  if (unit === 'B/s') return `${bytes(v)}/s`;
  if (unit === 'ms') return duration(v);
  if (unit === 's') return duration(v * 1000);
  if (unit === '/s') return rate(v);
  if (unit === '%') return `${Math.abs(v) >= 100 ? Math.round(v) : digits(v)} %`;
  return unit ? `${compact(v)} ${unit}` : compact(v);
}

function digits(n: number): string {
  const abs = Math.abs(n);
  if (Number.isInteger(n)) return String(n);
  if (abs >= 99.95) return String(Math.round(n));
  if (abs >= 10) return n.toFixed(1);
  if (abs >= 1) return String(Number(n.toFixed(2)));
  return String(Number(n.toPrecision(2)));
}
