// A picture of a page, for the README: `node tests/screenshot.mjs URL OUT.png [--dark] [--width N]
// [--height N] [--full] [--charts N]`. Waits until the charts are drawn.
import { launch, settled } from './browser.mjs';

const args = process.argv.slice(2);
const [url, out] = args.filter(
  (a, i) => !a.startsWith('--') && !/^--(width|height|charts)$/.test(args[i - 1] ?? ''),
);
const value = (flag, fallback) =>
  Number(
    args[args.indexOf(flag) + 1] && args.includes(flag) ? args[args.indexOf(flag) + 1] : fallback,
  );
if (!url || !out) {
  console.error(
    'usage: node tests/screenshot.mjs URL OUT.png [--dark] [--width N] [--height N] [--full] [--charts N]',
  );
  process.exit(2);
}
const width = value('--width', 1280);
const browser = await launch();
try {
  const page = await browser.newPage({
    viewport: { width, height: value('--height', width < 600 ? 812 : 800) },
    colorScheme: args.includes('--dark') ? 'dark' : 'light',
    deviceScaleFactor: 2,
  });
  await page.goto(url);
  await settled(page, { charts: value('--charts', 0), timeout: 30_000 });
  await page.waitForTimeout(1500);
  await page.screenshot({ path: out, fullPage: args.includes('--full') });
  console.log(`wrote ${out}`);
} finally {
  await browser.close();
}
