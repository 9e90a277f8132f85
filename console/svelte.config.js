// Runes everywhere: the console starts on Svelte 5 and uses nothing of the older syntax.
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default { preprocess: vitePreprocess(), compilerOptions: { runes: true } };
