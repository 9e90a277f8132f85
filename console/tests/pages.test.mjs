// Every page in light and dark, wide and at 375 px: it loads, shows data, has no accessibility
// fault (axe), no console error, no sideways scrolling, and asks no other host. With `WATERSHED_URL` the
// same holds for a real server that runs the project `sensors`.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch, settled } from './browser.mjs';
import { startFake } from './fake-server.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const LOOKS = [
  { name: 'light, wide', width: 1280, height: 860, dark: false },
  { name: 'dark, wide', width: 1280, height: 860, dark: true },
  { name: 'light, 375 px', width: 375, height: 812, dark: false },
  { name: 'dark, 375 px', width: 375, height: 812, dark: true },
];

let browser;
let servers = [];
let pages = [];

before(async () => {
  browser = await launch();
  pages = process.env.WATERSHED_URL
    ? await realPages(process.env.WATERSHED_URL)
    : await fakePages();
});
after(async () => {
  await browser?.close();
  await Promise.all(servers.map((s) => s.stop()));
});

async function fakePages() {
  const [full, wrong, empty] = await Promise.all([
    startFake(),
    startFake({ problems: true }),
    startFake({ empty: true }),
  ]);
  servers = [full, wrong, empty];
  wrong.world.resend({ ids: ['1000', '997', '995'] });
  const sql = encodeURIComponent('SELECT * FROM cpu_minute LIMIT 40');
  return [
    { name: 'home', url: `${full.url}/`, charts: 5, text: 'What runs' },
    {
      name: 'home with a problem',
      url: `${wrong.url}/`,
      charts: 5,
      text: 'views/cpu_minute.sql:3:7',
    },
    { name: 'empty home', url: `${empty.url}/`, text: 'curl -X POST' },
    { name: 'topics', url: `${full.url}/topics`, text: 'temperatures' },
    { name: 'no topics', url: `${empty.url}/topics`, text: 'CREATE TOPIC' },
    { name: 'topic', url: `${full.url}/topics/cpu`, text: 'Last events' },
    { name: 'unknown topic', url: `${full.url}/topics/cpuu`, text: 'did you mean', errors: true },
    { name: 'records', url: `${full.url}/topics/cpu?tab=records`, text: 'newest first' },
    {
      name: 'records by key',
      url: `${full.url}/topics/cpu?tab=records&key=nobody`,
      text: 'No record with the key',
    },
    { name: 'produce', url: `${full.url}/topics/cpu?tab=produce`, text: 'Produce a record' },
    { name: 'catalog', url: `${full.url}/objects`, text: 'materialized view' },
    { name: 'empty catalog', url: `${empty.url}/objects`, text: 'Nothing is defined yet' },
    { name: 'object', url: `${full.url}/objects/spikes`, text: 'rows learned' },
    { name: 'unknown object', url: `${full.url}/objects/nothing`, text: 'There is nothing called' },
    { name: 'groups', url: `${full.url}/groups`, text: 'billing' },
    { name: 'no groups', url: `${empty.url}/groups`, text: 'kcat' },
    { name: 'group', url: `${full.url}/groups/billing`, text: 'Read by' },
    { name: 'empty group', url: `${full.url}/groups/reports`, text: 'Nobody is in the group' },
    { name: 'unknown group', url: `${full.url}/groups/biling`, text: 'did you mean', errors: true },
    { name: 'views', url: `${full.url}/views`, text: 'cpu_minute' },
    { name: 'failed view in the list', url: `${wrong.url}/views`, text: 'division by zero' },
    { name: 'no views', url: `${empty.url}/views`, text: 'CREATE MATERIALIZED VIEW' },
    { name: 'view', url: `${full.url}/views/cpu_minute`, charts: 1, text: 'Watermark' },
    {
      name: 'view as table',
      url: `${full.url}/views/cpu_minute?show=table&sort=percent.desc`,
      text: 'cpu0',
    },
    { name: 'connectors', url: `${full.url}/connectors`, text: 'exactly once' },
    { name: 'failing sink', url: `${wrong.url}/connectors`, text: 'no space left' },
    { name: 'no connectors', url: `${empty.url}/connectors`, text: 'CREATE SINK' },
    { name: 'source', url: `${full.url}/sources/host`, text: 'since the start' },
    { name: 'sink', url: `${wrong.url}/sinks/hot`, text: 'has stopped' },
    { name: 'unknown sink', url: `${full.url}/sinks/cold`, text: 'There is no sink' },
    { name: 'sql', url: `${full.url}/sql`, text: 'Ask anything', editor: true },
    { name: 'sql table', url: `${full.url}/sql?run=1&q=${sql}`, text: 'answered in', editor: true },
    {
      name: 'sql chart',
      url: `${full.url}/sql?run=1&show=chart&q=${sql}`,
      charts: 1,
      editor: true,
    },
    {
      name: 'sql, several statements',
      url: `${full.url}/sql?run=1&q=${sql};${sql};SELECT%201%20FROM%20nowhere`,
      text: 'What to do',
      errors: true,
      editor: true,
    },
    {
      name: 'sql error',
      url: `${full.url}/sql?run=1&q=SELECT%201%20FROM%20nowhere`,
      text: 'What to do',
      errors: true,
      editor: true,
    },
    { name: 'dead letters', url: `${full.url}/dead-letters`, text: '64 in all' },
    {
      name: 'dead letters, filtered',
      url: `${full.url}/dead-letters?kind=late`,
      text: 'its window closed',
    },
    { name: 'letters sent again', url: `${wrong.url}/dead-letters?state=all`, text: 'sent again ' },
    {
      name: 'a letter edited',
      url: `${full.url}/dead-letters?topic=cpu`,
      text: 'As it came',
      act: (page) => page.getByRole('button', { name: /^Edit/ }).nth(1).click(),
    },
    {
      name: 'letters to be deleted',
      url: `${full.url}/dead-letters`,
      text: 'As it came',
      act: async (page) => {
        await page.getByLabel('all of the page').check();
        await page.getByRole('button', { name: 'Delete…' }).click();
      },
    },
    { name: 'no dead letters', url: `${empty.url}/dead-letters`, text: 'Nothing refused' },
    { name: 'nothing here', url: `${full.url}/nowhere`, text: 'Nothing here' },
  ];
}

/** Names come from the server itself: the demo project has at least a topic and a view. */
async function realPages(base) {
  const ask = async (path) => (await fetch(new URL(path, base))).json();
  const [topics, views] = await Promise.all([ask('/api/topics'), ask('/api/views')]);
  assert.ok(topics.length > 0 && views.length > 0, 'the project has a topic and a view');
  // A group comes into being by its offsets.
  const made = await fetch(new URL('/api/groups/console-test/offsets', base), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ to: 'earliest', topics: [topics[0].name] }),
  });
  assert.equal(made.status, 200);
  const url = (path) => new URL(path, base).href;
  const sql = encodeURIComponent(`SELECT * FROM ${views[0].name} LIMIT 50`);
  return [
    { name: 'home', url: url('/'), charts: 1, text: 'What runs' },
    { name: 'topics', url: url('/topics'), text: topics[0].name },
    { name: 'topic', url: url(`/topics/${topics[0].name}`), text: 'Last events' },
    { name: 'records', url: url(`/topics/${topics[0].name}?tab=records`), text: 'newest first' },
    {
      name: 'produce',
      url: url(`/topics/${topics[0].name}?tab=produce`),
      text: 'Produce a record',
    },
    { name: 'catalog', url: url('/objects'), text: views[0].name },
    { name: 'groups', url: url('/groups'), text: 'console-test' },
    { name: 'group', url: url('/groups/console-test'), text: 'Nobody is in the group' },
    { name: 'views', url: url('/views'), text: views[0].name },
    { name: 'view', url: url(`/views/${views[0].name}`), charts: 1, text: 'Watermark' },
    { name: 'sql', url: url(`/sql?run=1&q=${sql}`), text: 'rows', editor: true },
    { name: 'sql chart', url: url(`/sql?run=1&show=chart&q=${sql}`), charts: 1, editor: true },
    { name: 'dead letters', url: url('/dead-letters'), text: 'Dead letters' },
  ];
}

for (const look of LOOKS) {
  test(`every page: ${look.name}`, async (t) => {
    for (const page of pages) await t.test(page.name, () => visit(page, look));
  });
}

async function visit(target, look) {
  const page = await browser.newPage({
    viewport: { width: look.width, height: look.height },
    colorScheme: look.dark ? 'dark' : 'light',
  });
  const origin = new URL(target.url).origin;
  const errors = [];
  const strangers = [];
  page.on('console', (m) => {
    const expected = target.errors && /status of 4\d\d/.test(m.text());
    if (m.type() === 'error' && !expected) errors.push(m.text());
  });
  page.on('pageerror', (e) => errors.push(e.message));
  page.on('request', (r) => {
    if (new URL(r.url()).origin !== origin) strangers.push(r.url());
  });
  try {
    await page.goto(target.url);
    await settled(page, { charts: target.charts ?? 0, timeout: 30_000 });
    if (target.text)
      await page.waitForFunction((s) => document.body.textContent.includes(s), target.text);
    if (target.editor) await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
    await target.act?.(page);
    await page.evaluate(axe);
    const found = await page.evaluate(() =>
      window.axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      }),
    );
    const faults = found.violations.map(
      (v) =>
        `${v.id}: ${v.nodes
          .slice(0, 3)
          .map((n) => `${n.target} ${n.failureSummary}`)
          .join('; ')}`,
    );
    assert.deepEqual(faults, []);
    const wide = await page.evaluate(
      () => document.documentElement.scrollWidth - window.innerWidth,
    );
    assert.ok(wide <= 0, `the page is ${wide} px too wide`);
    assert.deepEqual(errors, []);
    assert.deepEqual(strangers, []);
  } finally {
    await page.close();
  }
}
