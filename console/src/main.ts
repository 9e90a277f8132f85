// Starts the console: the global styles and the shell. Everything else hangs below `App.svelte`.
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';

mount(App, { target: document.getElementById('app')! });
