// What a person does, against the real server at `WATERSHED_URL`: mends what was refused, removes
// it, and finds the SQL of before. With a topic of its own, which is gone afterwards.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { launch, settled } from './browser.mjs';

const base = process.env.WATERSHED_URL;
const TOPIC = 'console_letters';
let browser;
let page;

before(async () => {
  browser = await launch();
  await sql(`CREATE TOPIC ${TOPIC} (id BIGINT NOT NULL, note TEXT)`);
});
after(async () => {
  await browser?.close();
  await ask('DELETE', `/api/dead-letters?topic=${TOPIC}`);
  await sql(`DROP TOPIC ${TOPIC}`);
});
afterEach(async () => {
  await page?.context().close();
});

async function ask(method, path, body) {
  const answer = await fetch(new URL(path, base), { method, body });
  return { status: answer.status, text: await answer.text() };
}
async function sql(query) {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ query });
  const answer = await fetch(new URL('/api/sql', base), { method: 'POST', headers, body });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}
async function open(path) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  page = await context.newPage();
  page.setDefaultTimeout(10_000);
  await page.goto(new URL(path, base).href);
  await settled(page);
}
const lines = () => page.locator('[aria-label="Dead letters"] tbody tr:not(.editor)');
const line = (text) => lines().filter({ hasText: text });
const state = (name) => page.getByLabel('state', { exact: true }).selectOption(name);

test('the sample event of a topic is accepted', async () => {
  const types = ['TEXT', 'BIGINT', 'TINYINT', 'FLOAT', 'DECIMAL(9,2)', 'BOOLEAN', 'DATE', 'BINARY'];
  types.push('TIMESTAMP', 'TIMESTAMP_NTZ', 'ARRAY<INT>', 'MAP<TEXT, INT>', 'STRUCT<a: DATE>');
  types.push('ARRAY<STRUCT<t: TIMESTAMP>>');
  const columns = types.map((t, i) => `c${i} ${t} NOT NULL`);
  await sql(`CREATE TOPIC console_sample (${columns.join(', ')})`);
  try {
    await open('/topics/console_sample');
    const line = await page.getByText('--data-binary').first().textContent();
    const event = /--data-binary '(.*)'/.exec(line)[1];
    const answer = await ask('POST', '/api/topics/console_sample', event);
    assert.equal(JSON.parse(answer.text).accepted, 1, answer.text);
  } finally {
    await sql('DROP TOPIC console_sample');
  }
});

test('a refused event is edited, sent again and gone from the open ones', async () => {
  await ask('POST', `/api/topics/${TOPIC}`, '{"id": "one hundred", "note": "first"}');
  await open(`/dead-letters?topic=${TOPIC}`);
  const wrong = line('one hundred');
  assert.match(await wrong.locator('.place').textContent(), /line 1/);
  await wrong.getByRole('button', { name: /^Edit/ }).click();
  const field = page.getByLabel(`What is sent to ${TOPIC} in its place`);
  assert.equal(await field.inputValue(), '{"id": "one hundred", "note": "first"}');
  // Still wrong: refused again, and a new letter says why.
  await field.fill('{"id": "101", "note": 12 "first"}');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.getByText('0 accepted, 1 refused again').waitFor();
  await wrong.waitFor({ state: 'detached' });
  const again = line('"101"');
  await again.getByRole('button', { name: /^Edit/ }).click();
  await field.fill('{"id": 101, "note": "first"}');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.getByText('1 accepted, 0 refused again').waitFor();
  await again.waitFor({ state: 'detached' });
  const { rows } = await sql(`SELECT id, note FROM ${TOPIC}`);
  assert.deepEqual(rows, [[101, 'first']]);
  await state('sent');
  await again.getByText('sent again', { exact: false }).waitFor();
  assert.equal(await lines().count(), 2);
  // Once is all it is sent.
  await page.getByLabel('all of the page').check();
  await page.getByRole('button', { name: 'Send again' }).click();
  await page.getByText('0 accepted, 0 refused again, 2 left').waitFor();
  await page.getByText('2 letters left: it was sent again already').waitFor();
});

test('a letter is exported and deleted after a question', async () => {
  await ask('POST', `/api/topics/${TOPIC}`, '{"id": "gone"}\n{"id": "stays"}');
  await open(`/dead-letters?topic=${TOPIC}`);
  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export' }).click();
  const saved = await saving;
  assert.match(saved.suggestedFilename(), /^dead-letters-console_letters-.*\.ndjson$/);
  const exported = (await readFile(await saved.path(), 'utf8')).trimEnd().split('\n');
  assert.deepEqual(
    exported.slice(0, 2).map((l) => JSON.parse(l).raw),
    ['{"id": "stays"}', '{"id": "gone"}'],
  );
  await line('"gone"').getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByText('Delete one letter for good?').waitFor();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('1 deleted').waitFor();
  await line('"gone"').waitFor({ state: 'detached' });
  assert.equal(await line('"stays"').count(), 1);
  const { text } = await ask('GET', `/api/dead-letters?topic=${TOPIC}`);
  assert.ok(!text.includes('gone') && text.includes('stays'));
});

test('SQL text survives a reload, and several statements run one after the other', async () => {
  await open('/sql');
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  await page.locator('.cm-content').click();
  await page.keyboard.insertText("SELECT 'a;b' AS text; SELECT $$c;d$$ AS dollars");
  await page.keyboard.press('Control+Enter');
  await page.locator('td', { hasText: 'c;d' }).waitFor();
  const steps = page.locator('[aria-label=Statements] li');
  assert.equal(await steps.count(), 2);
  await steps.first().getByRole('button').click();
  await page.locator('td', { hasText: 'a;b' }).waitFor();
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.insertText('; SELECT 3 -- not run yet');
  await page.reload();
  await page.locator('[data-editor=ready]').waitFor({ state: 'attached' });
  const kept = await page.locator('.cm-content').textContent();
  assert.match(kept, /SELECT 3 -- not run yet$/);
  const history = page.locator('[aria-labelledby=history] li');
  assert.deepEqual(await history.allTextContents(), [
    'SELECT $$c;d$$ AS dollars',
    "SELECT 'a;b' AS text",
  ]);
});
