// Lines to copy for people who start: how to post an event to a topic, how to read a view. Made
// from the topic's own columns, so that they work as they stand.
import type { Column, Topic } from './types.ts';

export function origin(): string {
  return location.host || '127.0.0.1:4680';
}

export function sampleEvent(columns: Column[], now = new Date()): string {
  const out: Record<string, unknown> = {};
  for (const c of columns.filter((c) => !c.name.startsWith('_'))) {
    const t = c.type.toLowerCase();
    // Nested ones first: ARRAY<INT> is no INT.
    if (/^(array|list)/.test(t)) out[c.name] = [];
    else if (/^(struct|map)/.test(t)) out[c.name] = {};
    else if (/^date/.test(t)) out[c.name] = now.toISOString().slice(0, 10);
    else if (t === 'timestamp_ntz') out[c.name] = now.toISOString().slice(0, 19);
    else if (/^timestamp/.test(t)) out[c.name] = now.toISOString().replace(/\.\d+Z/, 'Z');
    else if (/^binary/.test(t)) out[c.name] = 'YQ==';
    else if (/^(double|float|real|decimal|numeric)/.test(t)) out[c.name] = 21.5;
    else if (/int|long/.test(t)) out[c.name] = 1;
    else if (/^bool/.test(t)) out[c.name] = true;
    else out[c.name] = 'a';
  }
  return JSON.stringify(out);
}

export function curlPost(topic: Topic): string {
  const event = sampleEvent(topic.columns).replaceAll("'", "'\\''");
  return `curl -X POST ${origin()}/api/topics/${topic.name} --data-binary '${event}'`;
}

export const FIRST_TOPIC = `CREATE TOPIC readings (
  sensor TEXT NOT NULL, celsius DOUBLE, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds'
)`;

export function firstCurl(): string {
  const event =
    '{"sensor":"roof","celsius":21.5,"at":"' + new Date().toISOString().slice(0, 19) + 'Z"}';
  return `curl -X POST ${origin()}/api/topics/readings --data-binary '${event}'`;
}

export const FIRST_VIEW = `CREATE MATERIALIZED VIEW minute_avg AS
SELECT sensor, window(at, '1 minute') AS w, avg(celsius) AS celsius, count(*) AS n
FROM readings GROUP BY sensor, window(at, '1 minute')`;
