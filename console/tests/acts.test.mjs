// What a person does: move by keyboard alone, pause, filter, ask, make an error, change the theme,
// lose the server and get it back. Against the fake server, whose behaviour is known.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { launch, settled } from './browser.mjs';
import { startFake } from './fake-server.mjs';

let browser;
let fake;
let page;

before(async () => {
  browser = await launch();
  fake = await startFake();
});
after(async () => {
  await browser?.close();
  await fake?.stop();
});
afterEach(async () => {
  await page?.context().close();
});

async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  page = await context.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(fake.url + path);
  await settled(page);
  return page;
}
const active = () =>
  page.evaluate(() => {
    let e = document.activeElement;
    while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
    return `${e?.tagName} ${e?.getAttribute('href') ?? e?.getAttribute('aria-label') ?? e?.textContent?.trim() ?? ''}`;
  });
const tabTo = async (pattern, key = 'Tab') => {
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press(key);
    if (pattern.test(await active())) return;
  }
  assert.fail(`${key} never reached ${pattern}; stopped at ${await active()}`);
};

test('the whole console by keyboard alone, with the focus always visible', async () => {
  await open('/');
  await page.keyboard.press('Tab');
  assert.match(await active(), /^A #main/);
  await page.keyboard.press('Enter');
  assert.match(await active(), /^H1/);
  await tabTo(/^BUTTON CPU: show as table/);
  await page.keyboard.press('Enter');
  await page.locator('figure table').first().waitFor();
  await page.keyboard.press('Enter');
  await page.locator('figure canvas').first().waitFor();
  await tabTo(/^A \/views$/, 'Shift+Tab');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/views');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  assert.equal(await page.title(), 'Views · Watershed');
  await settled(page);
  await tabTo(/^A \/views\/memory_minute$/);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/views/memory_minute');
  await settled(page, { charts: 1 });
});

test('the keyboard goes into the editor and out again', async () => {
  await open('/sql');
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  await tabTo(/^DIV SQL, run with/);
  await page.keyboard.type('SELECT * FROM cpu_minute LIMIT 8');
  await page.keyboard.press('Control+Enter');
  await page.getByText('8 rows', { exact: false }).first().waitFor();
  await page.waitForURL(/q=SELECT/);
  await tabTo(/^BUTTON Run/);
});

test('the editor completes names and underlines an error at its place', async () => {
  await open('/sql');
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  await page.locator('.cm-content').click();
  await page.keyboard.type('SELECT perc');
  await page.locator('.cm-tooltip-autocomplete li', { hasText: 'percent' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('SELECT *\nFROM temperature_m');
  await page.locator('.cm-tooltip-autocomplete li', { hasText: 'temperature_minute' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Enter');
  await page.getByText('line 2, column 6').waitFor();
  assert.equal(await page.locator('.cm-lintRange-error').textContent(), 'temperature_m');
  assert.equal(await page.locator('mark').textContent(), 'temperature_m');
});

test('a result is sorted, drawn, and the URL shows it again', async () => {
  await open('/sql?run=1&q=SELECT%20*%20FROM%20cpu_minute%20LIMIT%2040');
  await page.locator('th button', { hasText: 'percent' }).click();
  await page.locator('th[aria-sort=ascending]', { hasText: 'percent' }).waitFor();
  const numbers = await page.locator('td:nth-child(3)').allTextContents();
  assert.deepEqual(
    numbers.map(Number),
    numbers.map(Number).sort((a, b) => a - b),
  );
  await page.getByRole('button', { name: 'Result: show as table' }).click();
  await page.locator('figure canvas').waitFor();
  await page.waitForURL(/show=chart/);
});

test('a panel takes its part of a view, and one without rows says so', async () => {
  await open('/');
  await settled(page, { charts: 5 });
  const panel = (title) => page.locator('figure', { hasText: title });
  assert.match(await panel('One core alone').locator('.big').textContent(), /^[\d.]+ %$/);
  assert.match(await panel('Fans').textContent(), /No rows yet/);
  assert.equal(await panel('Fans').locator('canvas').count(), 0);
});

test('the axes of a view are chosen by themselves and changed in the URL', async () => {
  await open('/views/cpu_minute');
  await settled(page, { charts: 1 });
  assert.equal(await page.getByLabel('x', { exact: true }).inputValue(), 'w.start');
  assert.equal(await page.getByLabel('y', { exact: true }).inputValue(), 'percent');
  assert.equal(await page.getByLabel('series', { exact: true }).inputValue(), 'core');
  const label = await page.locator('[role=img]').getAttribute('aria-label');
  assert.match(label, /^Rows\. 4 series, .* to .*, highest cpu\d .* %/);
  await page.getByLabel('y', { exact: true }).selectOption('n');
  await page.getByLabel('series', { exact: true }).selectOption('');
  await page.getByLabel('filter').fill('cpu2');
  await page.waitForURL(/y=n&series=none&filter=cpu2/);
  await page.reload();
  await settled(page, { charts: 1 });
  assert.equal(await page.getByLabel('y', { exact: true }).inputValue(), 'n');
  assert.equal(await page.getByLabel('filter').inputValue(), 'cpu2');
});

test('charts move by themselves', async () => {
  await open('/views/cpu_minute?show=table&sort=w.desc');
  const first = () => page.locator('tbody tr').first().textContent();
  const before = await first();
  await page.waitForFunction(
    (old) => document.querySelector('tbody tr')?.textContent !== old,
    before,
    { timeout: 8000 },
  );
});

test('last events stop and go on', async () => {
  await open('/topics/cpu');
  const first = () => page.locator('[aria-label="Last events"] tbody tr').first().textContent();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.waitForURL(/paused=1/);
  await page.waitForTimeout(300);
  const held = await first();
  await page.waitForTimeout(2500);
  assert.equal(await first(), held);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.waitForFunction(
    (old) => document.querySelector('[aria-label="Last events"] tbody tr')?.textContent !== old,
    held,
  );
});

test('records are found by offset, partition and key, and open to all that is known', async () => {
  await open('/topics/cpu');
  await page.getByRole('link', { name: 'Records', exact: true }).click();
  await page.getByText('50 records, newest first').waitFor();
  await page.getByLabel('from', { exact: true }).selectOption('offset');
  await page.getByLabel('offset', { exact: true }).fill('57');
  await page.getByLabel('partition', { exact: true }).selectOption('0');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.getByText('3 records, oldest first').waitFor();
  await page.waitForURL(/partition=0&from=57/);
  await page.reload();
  await page.getByText('3 records, oldest first').waitFor();
  assert.equal(await page.getByLabel('offset', { exact: true }).inputValue(), '57');
  const line = page.getByRole('button', { name: 'Record 0 / 59: details' });
  await line.focus();
  await page.keyboard.press('Enter');
  await page.getByText('It is no row of the topic').waitFor();
  assert.equal(await line.getAttribute('aria-expanded'), 'true');
  await page.getByLabel('from', { exact: true }).selectOption('oldest');
  await page.getByLabel('partition', { exact: true }).selectOption('');
  await page.getByLabel('key').fill('cpu2');
  await page.keyboard.press('Enter');
  await page.getByText('30 records, oldest first').waitFor();
  const keys = await page.locator('[aria-label=Records] td.key').allTextContents();
  assert.ok(keys.every((k) => k === 'cpu2'));
});

test('more records come with the next page', async () => {
  await open('/topics/cpu?tab=records&from=earliest&partition=1');
  await page.getByText('50 records, oldest first').waitFor();
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.getByText('60 records, oldest first').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Show more' }).count(), 0);
});

test('a record is produced, and what does not fit is told', async () => {
  await open('/topics/cpu?tab=produce');
  const value = page.getByLabel('Value', { exact: true });
  const sample = await value.inputValue();
  await value.fill('no json');
  await page.getByRole('button', { name: 'Produce', exact: true }).click();
  await page.getByText('the only event was refused').waitFor();
  await value.fill(sample);
  await page.getByLabel('Key', { exact: true }).fill('cpu0');
  await page.getByLabel('Partition', { exact: true }).selectOption('1');
  await page.getByLabel('Headers, one a line').fill('source=console\nn = 1');
  await page.getByRole('button', { name: 'Produce', exact: true }).click();
  await page.getByRole('link', { name: 'partition 1, offset 17' }).waitFor();
  assert.deepEqual(fake.world.produced.at(-1), {
    key: 'cpu0',
    value: sample,
    headers: [
      { key: 'source', value: 'console' },
      { key: 'n', value: '1' },
    ],
    partition: 1,
  });
});

test('a group without members is reset after a preview, and deleted after a question', async () => {
  await open('/groups');
  await page.getByRole('link', { name: 'reports' }).click();
  await page.waitForURL('**/groups/reports');
  await page.getByRole('button', { name: 'Preview' }).click();
  const plan = page.locator('[aria-label="What would change"]');
  await plan.waitFor();
  assert.equal(await plan.locator('tbody tr').first().locator('td').nth(2).textContent(), '0');
  assert.equal(fake.world.offsets.size, 0);
  // Another wish makes the preview void.
  await page.getByLabel('to', { exact: true }).selectOption('latest');
  await plan.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.getByRole('button', { name: 'Reset offsets' }).click();
  await page.getByText('The group goes on from there').waitFor();
  assert.equal(fake.world.offsets.size, 2);
  await page.getByRole('button', { name: 'Delete…' }).click();
  assert.match(await active(), /^BUTTON Keep it/);
  await page.getByRole('button', { name: 'Delete it' }).click();
  await page.waitForURL('**/groups');
  await page.getByRole('link', { name: 'reports' }).waitFor({ state: 'detached' });
});

test('a group with members shows what a reset would do, and does not do it', async () => {
  await open('/groups/billing');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.locator('[aria-label="What would change"]').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Reset offsets' }).isDisabled());
  assert.ok(await page.getByRole('button', { name: 'Delete…' }).isDisabled());
});

test('dead letters are filtered and come page by page', async () => {
  await open('/dead-letters');
  const rows = page.locator('[aria-label="Dead letters"] tbody tr');
  assert.equal(await rows.count(), 50);
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 64);
  await page.getByLabel('kind').selectOption('late');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length < 20);
  await page.waitForURL(/kind=late/);
  await page.getByLabel('topic').selectOption('network');
  await page.getByText('Nothing refused that matches').waitFor();
});

test('letters are edited, sent again, deleted and exported', async () => {
  const own = await startFake();
  try {
    await open('/');
    await page.goto(`${own.url}/dead-letters?kind=type`);
    await settled(page);
    const rows = page.locator('[aria-label="Dead letters"] tbody tr:not(.editor)');
    const told = page.locator('[role=status]');
    assert.equal(await rows.count(), 11);
    assert.match(await rows.nth(5).locator('.place').textContent(), /^exports.*, line 5, column/);
    // While one is edited nothing slips away under it.
    await rows.first().getByRole('button', { name: 'Edit letter 999' }).click();
    const field = page.getByLabel('What is sent to cpu in its place');
    assert.equal(await field.evaluate((e) => document.activeElement === e), true);
    await field.fill('{"core":"cpu1","percent":12,"at":"2026-11-22T10:00:00Z"}');
    await page.keyboard.press('Control+Enter');
    await told.getByText('1 accepted, 0 refused again', { exact: true }).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 10);
    await page.getByLabel('all of the page').check();
    await page.getByText('10 chosen').waitFor();
    await rows.nth(1).getByRole('checkbox').uncheck();
    await page.getByRole('button', { name: 'Send again' }).click();
    await told.getByText('0 accepted, 9 refused again', { exact: true }).waitFor();
    await page.waitForFunction(() => /1009/.test(document.querySelector('tbody')?.innerHTML));
    assert.equal(await rows.count(), 10);
    await rows.first().getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Delete…' }).click();
    assert.match(await active(), /^BUTTON Keep/);
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await told.getByText('1 deleted').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 9);
    await page.getByLabel('state').selectOption('all');
    await page.waitForURL(/state=all/);
    assert.equal(await rows.filter({ hasText: 'sent again' }).count(), 10);
    const saving = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Export' }).click();
    const saved = await readFile(await (await saving).path(), 'utf8');
    assert.equal(saved.trimEnd().split('\n').length, 19);
  } finally {
    await own.stop();
  }
});

test('what cannot be sent again is told, and all of a filter is meant at once', async () => {
  const own = await startFake();
  try {
    await open('/');
    await page.goto(`${own.url}/dead-letters?topic=cpu`);
    await settled(page);
    await page.getByLabel('all of the page').check();
    await page.getByRole('button', { name: 'Choose all letters of cpu' }).click();
    await page.getByRole('button', { name: 'Send again' }).click();
    await page.getByText(/left: the event is in the topic/).waitFor();
    await page.getByLabel('kind').selectOption('late');
    await page.locator('.tag', { hasText: 'late' }).first().waitFor();
    assert.equal(await page.getByRole('button', { name: /^Edit/ }).count(), 0);
  } finally {
    await own.stop();
  }
});

test('a failed view is red and first', async () => {
  const own = await startFake({ problems: true });
  try {
    await open('/');
    await page.goto(`${own.url}/views`);
    await settled(page);
    const first = page.locator('tbody tr').first();
    assert.match(await first.textContent(), /temperature_minute.*division by zero/);
    assert.equal(await first.locator('.tag.bad').textContent(), 'failed');
  } finally {
    await own.stop();
  }
});

test('statements run one after the other, up to the first that fails', async () => {
  await open('/sql');
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  await page.locator('.cm-content').click();
  await page.keyboard.insertText('CREATE TOPIC a;\nSELECT * FROM cpu_minute LIMIT 3;\n');
  await page.keyboard.insertText("SELECT ';' FROM nowhere; SELECT * FROM disk_free");
  fake.world.asked.length = 0;
  await page.keyboard.press('Control+Enter');
  await page.getByText('line 3, column 17').waitFor();
  assert.equal(await page.locator('.cm-lintRange-error').textContent(), 'nowhere');
  await page.getByText('one did not run').waitFor();
  assert.deepEqual(fake.world.asked, [
    'CREATE TOPIC a',
    'SELECT * FROM cpu_minute LIMIT 3',
    "SELECT ';' FROM nowhere",
  ]);
  const steps = page.locator('[aria-label=Statements] li');
  assert.match(await steps.first().textContent(), /created topic 'a'/);
  await steps.nth(1).getByRole('button').click();
  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download CSV' }).click();
  const csv = await readFile(await (await saving).path(), 'utf8');
  assert.match(csv, /^core,w,percent,n\r\n/);
  assert.equal(csv.trimEnd().split('\r\n').length, 4);
});

test('the text of the SQL page survives a reload, its statements are a history', async () => {
  await open('/sql');
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  await page.locator('.cm-content').click();
  await page.keyboard.insertText('SELECT * FROM disk_free LIMIT 2');
  await page.keyboard.press('Control+Enter');
  await page.getByText('2 rows', { exact: false }).first().waitFor();
  await page.keyboard.insertText(' -- more');
  const reload = async (path) => {
    await page.goto(fake.url + path);
    await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  };
  await page.reload();
  await page.locator('.cm-content', { hasText: 'LIMIT 2 -- more' }).waitFor();
  await reload('/sql?q=SELECT%201');
  assert.equal(await page.locator('.cm-content').textContent(), 'SELECT 1');
  await reload('/sql');
  assert.match(await page.locator('.cm-content').textContent(), /LIMIT 2 -- more$/);
  await page.locator('[aria-labelledby=history] button', { hasText: 'disk_free' }).click();
  assert.match(await page.locator('.cm-content').textContent(), /LIMIT 2$/);
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByText('What you run is kept here').waitFor();
});

test('nothing is cut off at 375 px', async () => {
  await open('/', { viewport: { width: 375, height: 812 } });
  await settled(page, { charts: 5 });
  const cut = await page.evaluate(() => {
    const badge = document.querySelector('.short-badge').getBoundingClientRect();
    const table = document.querySelector('[aria-label="What runs"]');
    return { badge: badge.right - innerWidth, table: table.scrollWidth - table.clientWidth };
  });
  assert.ok(cut.badge <= 0 && cut.table <= 0, JSON.stringify(cut));
});

test('unknown is shown as unknown, lag as time', async () => {
  await open('/views');
  const cells = (name) => page.locator('tr', { hasText: name }).locator('td').allTextContents();
  assert.ok((await cells('temperature_minute')).some((c) => c.includes('unknown')));
  assert.ok((await cells('network_minute')).some((c) => c.includes('≈ 6.0 s')));
});

test('the theme is switched, kept, and follows the system again', async () => {
  await open('/', { colorScheme: 'light' });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  const button = page.getByRole('button', { name: /^Theme/ });
  await button.click();
  await button.click();
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await ground(), dark);
  await button.click();
  assert.equal(await ground(), light);
});

test('nothing is red on the first open', async () => {
  const empty = await startFake({ empty: true });
  try {
    await open('/');
    await page.goto(`${empty.url}/`);
    await page.getByText('three steps to a live chart').waitFor();
    const reds = await page.evaluate(
      () =>
        [...document.querySelectorAll('body *')].filter((e) => {
          const s = getComputedStyle(e);
          return [s.color, s.backgroundColor, s.borderTopColor].some((c) => {
            const [r, g, b, a = 1] = (c.match(/[\d.]+/g) ?? []).map(Number);
            return a > 0 && r > 150 && g < 100 && b < 100;
          });
        }).length,
    );
    assert.equal(reds, 0);
  } finally {
    await empty.stop();
  }
});

test('a lost server is told calmly, the last rows stay, and streams resume where they were', async () => {
  let server = await startFake();
  try {
    await open('/');
    await page.goto(`${server.url}/views/cpu_minute`);
    await settled(page, { charts: 1 });
    await page.waitForTimeout(1500);
    await server.stop();
    await page.getByText('Not connected.').waitFor();
    assert.ok(await page.locator('figure canvas').isVisible());
    await page.getByText('What you see is the last known state.').waitFor();
    server = await startFake({ port: server.port });
    await page.getByRole('button', { name: 'Try now' }).click();
    await page.getByText('Not connected.').waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.querySelector('figure .tag')?.textContent === 'live');
    assert.ok(server.streams.some((s) => s.view === 'cpu_minute' && Number(s.lastEventId) > 0));
  } finally {
    await server.stop();
  }
});

test('streams leave connections free: two windows with every chart still answer', async () => {
  await open('/');
  await settled(page, { charts: 5 });
  const other = await page.context().newPage();
  await other.goto(`${fake.url}/`);
  await settled(other, { charts: 5 });
  const third = await page.context().newPage();
  await third.goto(`${fake.url}/dead-letters`);
  await third.getByText('64 in all').waitFor({ timeout: 5000 });
});
