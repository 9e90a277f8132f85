// The top titles of the minute under way, asked for each second. Node 20, no packages.
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:4680' },
    limit: { type: 'string', default: '10' },
    all: { type: 'boolean', default: false },   // over all minutes
    once: { type: 'boolean', default: false },
  },
});
const url = values.url.replace(/\/+$/, '');

async function top(minute) {
  const query = new URLSearchParams({ order: 'plays.desc', limit: values.limit });
  if (minute) query.set('w.start', minute);
  const answer = await fetch(`${url}/api/views/trending?${query}`);
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(`${answer.status} ${result.detail ?? answer.statusText}`);
  return result.rows;
}

/** The minute before stays on screen until the new one has its first plays. */
async function latest() {
  if (values.all) return { when: 'all minutes', rows: await top() };
  const now = Math.floor(Date.now() / 60_000) * 60_000;
  for (const start of [now, now - 60_000]) {
    const minute = new Date(start).toISOString().replace('.000Z', 'Z');
    const rows = await top(minute);
    if (rows.length > 0) return { when: minute, rows };
  }
  return { when: 'the last two minutes', rows: [] };
}

function show({ when, rows }) {
  const most = Math.max(1, ...rows.map((r) => r.plays));
  const lines = rows.map((r, i) => {
    const bar = '█'.repeat(Math.max(1, Math.round((24 * r.plays) / most)));
    const rate = `${(100 * r.take_rate).toFixed(1)} %`;
    return `${String(i + 1).padStart(3)}  ${r.title.padEnd(22)} ${String(r.plays).padStart(6)} of ` +
      `${String(r.impressions).padStart(6)} ${rate.padStart(7)}  ${bar}`;
  });
  if (rows.length === 0) lines.push('nothing was played yet: start client.mjs');
  const clear = process.stdout.isTTY && !values.once ? '\x1b[2J\x1b[H' : '';
  process.stdout.write(`${clear}Trending now (${when}): plays of impressions\n${lines.join('\n')}\n`);
}

for (;;) {
  try {
    show(await latest());
  } catch (e) {
    console.error(`error: ${url}: ${e.cause?.code ?? e.message}`);
    if (values.once) process.exit(1);
  }
  if (values.once) break;
  await sleep(1000);
}
