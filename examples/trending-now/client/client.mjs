// Posts impressions and plays in small batches over HTTP, as fast as --rate says, and tries again
// when the platform is away. Node 20, no packages. Start here; people.mjs makes the events.
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { people } from './people.mjs';

const USAGE = `Usage: node client.mjs [options]
  --url URL      platform (default http://127.0.0.1:4680)
  --rate N       impressions per second; plays come on top (default 200)
  --seconds N    how long; 0 is for ever (default 60)
  --seed N       another seed, other people (default 1)`;

const BATCH_MS = 250;
const ATTEMPTS_MAX = 12;

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

function options() {
  const text = { type: 'string' };
  let values;
  try {
    ({ values } = parseArgs({
      options: { url: text, rate: text, seconds: text, seed: text, help: { type: 'boolean' } },
    }));
  } catch (e) {
    fail(`${e.message}\n${USAGE}`);
  }
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const number = (name, otherwise, least) => {
    const n = Number(values[name] ?? otherwise);
    if (!Number.isFinite(n) || n < least) fail(`--${name} must be a number from ${least} up`);
    return n;
  };
  return {
    url: (values.url ?? 'http://127.0.0.1:4680').replace(/\/+$/, ''),
    rate: number('rate', 200, 0.1),
    seconds: number('seconds', 60, 0),
    seed: number('seed', 1, 0),
  };
}

const sent = { impressions: 0, plays: 0, refused: 0, retries: 0 };

/** Posts one batch; the platform confirms it when it is on disk. */
async function post(url, topic, events) {
  const body = events.map((e) => JSON.stringify(e)).join('\n');
  for (let attempt = 1; ; attempt++) {
    let problem;
    let wait = Math.min(5000, 100 * 2 ** attempt) * (0.5 + Math.random() / 2);
    try {
      const answer = await fetch(`${url}/api/topics/${topic}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body,
        signal: AbortSignal.timeout(30_000),
      });
      const result = await answer.json().catch(() => ({}));
      if (answer.ok) {
        sent[topic] += result.accepted ?? 0;
        sent.refused += result.refused ?? 0;
        return;
      }
      problem = `${answer.status} ${result.detail ?? answer.statusText}`;
      if (answer.status < 500 && answer.status !== 429) {
        throw new Error(`${topic}: ${problem}${result.hint ? ` (${result.hint})` : ''}`);
      }
      wait = Math.max(wait, 1000 * (Number(answer.headers.get('retry-after')) || 0));
    } catch (e) {
      if (e.name !== 'TypeError' && e.name !== 'TimeoutError') throw e;
      problem = e.cause?.code ?? e.message;
    }
    if (attempt === ATTEMPTS_MAX) {
      throw new Error(`${url} does not take events: ${problem}\nis it running? start it with: ` +
        'watershed dev examples/trending-now');
    }
    sent.retries++;
    show(`waiting for ${url}: ${problem}`);
    await sleep(wait);
  }
}

const started = Date.now();
let shownAt = 0;

function show(note = '', last = false) {
  const now = Date.now();
  const interval = process.stdout.isTTY ? 250 : 5000;
  if (!last && now - shownAt < interval) return;
  shownAt = now;
  const seconds = (now - started) / 1000;
  const all = sent.impressions + sent.plays;
  const line = `${seconds.toFixed(0).padStart(4)} s  ${sent.impressions} impressions  ` +
    `${sent.plays} plays  ${(all / Math.max(seconds, 0.001)).toFixed(0)}/s` +
    (sent.refused ? `  ${sent.refused} refused` : '') + (note ? `  ${note}` : '');
  process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${line}${last ? '\n' : ''}` : `${line}\n`);
}

async function main() {
  const { url, rate, seconds, seed } = options();
  let stopped = false;
  process.on('SIGINT', () => (stopped = true));
  const events = people(seed, rate);
  let next = events.next().value;
  for (let tick = 1; !stopped; tick++) {
    // The made-up evening runs beside the real clock; what fell behind is caught up.
    const until = Math.min((tick * BATCH_MS) / 1000, seconds || Infinity);
    await sleep(Math.max(0, started + until * 1000 - Date.now()));
    const batches = { impressions: [], plays: [] };
    for (; next.seconds < until; next = events.next().value) {
      const at = new Date(started + (next.seconds - next.delay) * 1000).toISOString();
      batches[next.topic].push({ ...next.event, at });
    }
    const full = Object.entries(batches).filter(([, b]) => b.length > 0);
    await Promise.all(full.map(([topic, b]) => post(url, topic, b)));
    show();
    if (seconds && until >= seconds) break;
  }
  show('', true);
}

main().catch((e) => {
  process.stdout.write(process.stdout.isTTY ? '\n' : '');
  console.error(`error: ${e.message}`);
  process.exit(1);
});
