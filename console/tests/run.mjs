// `npm test`: types, unit tests, then the browser tests; the fake server serves the built files
// unless `WATERSHED_URL` names a real one. Ends with one line that says how it went.
import { existsSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const real = process.env.WATERSHED_URL;

function step(name, command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`console tests failed: ${name}`);
    process.exit(1);
  }
}

const bin = (name) => `${root}node_modules/.bin/${name}`;
if (!real) {
  step('types', bin('svelte-check'), [
    '--tsconfig',
    './tsconfig.json',
    '--fail-on-warnings',
    '--output',
    'human',
  ]);
  step('unit tests', bin('vitest'), ['run', '--reporter=dot']);
  if (!existsSync(`${root}dist/index.html`)) step('build', bin('vite'), ['build']);
}
step('browser tests', process.execPath, [
  '--test',
  '--test-reporter=spec',
  'tests/pages.test.mjs',
  real ? 'tests/real.test.mjs' : 'tests/acts.test.mjs',
]);
console.log(
  `console tests passed (${real ? `against ${real}` : 'types, unit, browser against the fake server'})`,
);
