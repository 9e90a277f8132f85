// A stand-in for the real server while the console is built and tested: the built files and the
// REST contract over moving data, under the strict content security policy. Zero dependencies.
// `node tests/fake-server.mjs [PORT] [--empty] [--problems]`
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { World } from './fake-data.mjs';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const CSP = "default-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'";

/** Starts on `port` (0 chooses one) and gives back the address and the means to stop. */
export function startFake({ port = 0, ...options } = {}) {
  const world = new World(options);
  const streams = [];
  const server = createServer((req, res) => {
    handle(world, req, res, streams).catch((e) => problem(res, 500, String(e)));
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      const actual = server.address().port;
      resolve({
        url: `http://127.0.0.1:${actual}`,
        port: actual,
        world,
        streams,
        stop: () => new Promise((done) => (server.close(done), server.closeAllConnections())),
      });
    });
  });
}

async function handle(world, req, res, streams) {
  const url = new URL(req.url, 'http://x');
  const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent);
  if (parts[0] !== 'api') return file(url.pathname, res);
  const [, room, name, more] = parts;
  const q = url.searchParams;
  if (room === 'status' && !name) return json(res, world.status());
  if (room === 'status') return statusStream(world, req, res);
  if (room === 'dashboards') return json(res, world.dashboards());
  if (room === 'topics' && !name) return json(res, world.topics());
  if (room === 'topics' && req.method === 'POST') return produce(world, name, await body(req), res);
  if (room === 'topics') return topic(world, name, more, q, res);
  if (room === 'pipelines' && more === 'operators') return json(res, world.operators(name));
  if (room === 'objects' && !name) return json(res, world.objects());
  if (room === 'groups' && !name) return json(res, world.groups());
  if (room === 'groups') return group(world, name, more, req, res);
  if (room === 'views' && !name) return json(res, world.views());
  if (room === 'views') return view(world, name, more, q, req, res, streams);
  if (room === 'dead-letters' && name === 'resend')
    return json(res, world.resend(JSON.parse(await body(req))));
  if (room === 'dead-letters' && req.method === 'DELETE') return json(res, world.deleteLetters(q));
  if (room === 'dead-letters') return deadLetters(world, q, res);
  if (room === 'sql' && req.method === 'POST') return sql(world, await body(req), res);
  return problem(res, 404, `no such path "${url.pathname}"`);
}

function topic(world, name, more, q, res) {
  const found = world.topics().find((t) => t.name === name);
  if (!found)
    return problem(res, 404, `there is no topic "${name}"`, { hint: 'did you mean "cpu"?' });
  if (more === 'schema') return json(res, found);
  if (more === 'partitions') return json(res, world.partitions(name));
  if (more === 'records') return json(res, world.records(name, q));
  return json(res, {
    events: world.tail(name, Number(q.get('tail') ?? 20)),
    next: { 0: 17, 1: 18 },
  });
}

function produce(world, name, text, res) {
  const [record] = JSON.parse(text).records;
  if (record.value !== null && !record.value.startsWith('{')) {
    return problem(res, 400, 'the only event was refused: line 1: not valid JSON');
  }
  world.produced.push(record);
  const partition = record.partition ?? 0;
  const partitions = [{ partition, first_offset: 17, last_offset: 17 }];
  return json(res, { accepted: 1, refused: 0, partitions, errors: [] });
}

async function group(world, name, more, req, res) {
  const found = world.group(name);
  if (!found)
    return problem(res, 404, `unknown group '${name}'`, { hint: "did you mean 'billing'?" });
  const busy = found.members.length > 0;
  if (more === 'offsets') {
    const asked = JSON.parse(await body(req));
    const detail = `offsets can only be reset while a group has no members: '${name}' is Stable`;
    if (busy && !asked.dry_run) return problem(res, 409, detail);
    return json(res, world.reset(name, asked));
  }
  if (req.method !== 'DELETE') return json(res, found);
  if (busy) return problem(res, 409, `group '${name}' has members`);
  world.gone.add(name);
  return json(res, { deleted: name });
}

function view(world, name, more, q, req, res, streams) {
  const kind = world.viewKind(name);
  if (!kind) return problem(res, 404, `there is no view "${name}"`);
  const columns = world.columns(kind);
  if (more === 'changes') return changes(world, kind, columns, req, res, streams);
  const limit = Number(q.get('limit') ?? 100);
  return json(res, {
    columns,
    rows: world.rows(kind).slice(-limit),
    epoch: world.epoch(),
    next: null,
  });
}

function changes(world, kind, columns, req, res, streams) {
  sse(res);
  streams.push({ view: kind.view, lastEventId: req.headers['last-event-id'] ?? null });
  let before = world.rows(kind);
  const resumed = req.headers['last-event-id'] !== undefined;
  const data = { epoch: world.epoch(), columns, rows: before };
  if (!resumed) res.write(`event: snapshot\nid: ${data.epoch}\ndata: ${JSON.stringify(data)}\n\n`);
  const timer = setInterval(() => {
    const after = world.rows(kind);
    const had = new Set(before.map((r) => JSON.stringify(r)));
    const has = new Set(after.map((r) => JSON.stringify(r)));
    const gone = before.filter((r) => !has.has(JSON.stringify(r))).map((row) => ({ op: '-', row }));
    const came = after.filter((r) => !had.has(JSON.stringify(r))).map((row) => ({ op: '+', row }));
    before = after;
    if (gone.length + came.length === 0) return;
    const epoch = world.epoch();
    const text = JSON.stringify({ epoch, changes: [...gone, ...came] });
    res.write(`event: changes\nid: ${epoch}\ndata: ${text}\n\n`);
  }, 1000);
  res.on('close', () => clearInterval(timer));
}

function statusStream(world, _req, res) {
  sse(res);
  const send = () => res.write(`event: status\ndata: ${JSON.stringify(world.status())}\n\n`);
  send();
  const timer = setInterval(send, 1000);
  res.on('close', () => clearInterval(timer));
}

function deadLetters(world, q, res) {
  const all = world
    .deadLetters()
    .filter(
      (r) =>
        (!q.get('topic') || r.topic === q.get('topic')) &&
        (!q.get('kind') || r.kind === q.get('kind')),
    );
  const from = Number(q.get('after') ?? 0);
  const to = from + Number(q.get('limit') ?? 100);
  json(res, {
    rows: all.slice(from, to),
    next: to < all.length ? String(to) : null,
    total: all.length,
  });
}

function sql(world, text, res) {
  const { query } = JSON.parse(text);
  world.asked.push(query);
  const made = /^\s*create\s+topic\s+(\w+)/i.exec(query);
  if (made) return json(res, { message: `created topic '${made[1]}'` });
  const shown = /^SHOW CREATE (SOURCE|SINK) "(\w+)"$/.exec(query);
  if (shown) {
    const text = `CREATE ${shown[1]} ${shown[2]} …`;
    return json(res, { columns: [{ name: 'statement', type: 'TEXT' }], rows: [[text]] });
  }
  const from = /\bfrom\s+"?(\w+)"?/i.exec(query);
  const kind = from && world.viewKind(from[1]);
  const topic = from && world.topics().find((t) => t.name === from[1]);
  if (!kind && !topic) {
    const bad = from?.[1] ?? query.trim().split(/\s+/)[0];
    const at = query.indexOf(bad);
    const line = query.slice(0, at).split('\n').length;
    const column = at - query.lastIndexOf('\n', at - 1);
    return problem(res, 400, `there is no topic or view "${bad}"`, {
      hint: 'did you mean "cpu_minute"?',
      place: {
        line,
        column,
        end_line: line,
        end_column: column + bad.length,
        text: query.split('\n')[line - 1],
      },
    });
  }
  const columns = kind ? world.columns(kind) : topic.columns;
  const rows = kind ? world.rows(kind) : world.tail(topic.name, 100).map((e) => e.value);
  const limit = Number(/limit\s+(\d+)/i.exec(query)?.[1] ?? 1000);
  const values = rows.slice(0, limit).map((r) => columns.map((c) => r[c.name]));
  return json(res, { columns, rows: values, rows_omitted: false, elapsed_ms: 3.4 });
}

async function file(path, res) {
  const clean = normalize(path).replace(/^(\.\.[/\\])+/, '');
  const ext = extname(clean);
  try {
    const bytes = await readFile(join(DIST, ext ? clean : 'index.html'));
    res.writeHead(200, {
      'content-type': TYPES[ext || '.html'] ?? 'application/octet-stream',
      'content-security-policy': CSP,
    });
    res.end(bytes);
  } catch {
    problem(res, 404, `there is no file "${clean}"`);
  }
}

function sse(res) {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
}

function json(res, value, status = 200, type = 'application/json') {
  res.writeHead(status, { 'content-type': type });
  res.end(JSON.stringify(value));
}

function problem(res, status, detail, more = {}) {
  const title = status === 404 ? 'not found' : 'invalid';
  json(
    res,
    { type: 'about:blank', title, status, detail, code: title.replace(' ', '_'), ...more },
    status,
    'application/problem+json',
  );
}

async function body(req) {
  const chunks = [];
  for await (const c of req) chunks.push(c);
  return Buffer.concat(chunks).toString('utf8');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const port = Number(process.argv.find((a) => /^\d+$/.test(a)) ?? 4690);
  const has = (flag) => process.argv.includes(flag);
  const fake = await startFake({ port, empty: has('--empty'), problems: has('--problems') });
  console.log(`fake Watershed on ${fake.url}`);
}
