// Starts the system's Chromium without a network of its own; shared by the tests and by
// `screenshot.mjs`. `CHROMIUM` names another binary.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(
      `no Chromium at ${executablePath}: apt-get install -y chromium, or set CHROMIUM`,
    );
  }
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Waits until the page shows data: charts are drawn and nothing says that it is loading. */
export async function settled(page, { charts = 0, timeout = 15_000 } = {}) {
  await page.waitForFunction(
    (n) => {
      const text = document.querySelector('main')?.textContent ?? '';
      const drawn = document.querySelectorAll('figure canvas, figure ol').length;
      return text !== '' && !/Loading…|Waiting for the first/.test(text) && drawn >= n;
    },
    charts,
    { timeout },
  );
  await page.waitForTimeout(250);
}
