// Builds the console into `dist`, which the binary embeds. Nothing is inlined as a data URI or an
// inline script, so that the pages run under `default-src 'self'`. `npm run dev` passes API calls
// on to a running Watershed.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { ProxyOptions } from 'vite';
import { defineConfig } from 'vitest/config';

const target = process.env.WATERSHED_URL ?? 'http://127.0.0.1:4680';
// The server refuses writes that come from the page of another origin, hence the header.
const proxy: ProxyOptions = {
  target,
  changeOrigin: true,
  configure: (p) => p.on('proxyReq', (request) => request.setHeader('origin', target)),
};

export default defineConfig({
  plugins: [svelte()],
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { '/api': proxy } },
  test: { include: ['tests/unit/**/*.test.ts'], environment: 'node' },
});
