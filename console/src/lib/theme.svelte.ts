// Light, dark, or as the system says. `public/theme.js` sets the stored choice before the first
// paint; here it is changed and made known to those who paint on a canvas.

export type Choice = 'system' | 'light' | 'dark';
const KEY = 'watershed.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

class Theme {
  choice = $state<Choice>((document.documentElement.dataset.theme as Choice) ?? 'system');
  private systemDark = $state(system.matches);

  constructor() {
    system.addEventListener('change', (e) => (this.systemDark = e.matches));
  }

  get dark(): boolean {
    return this.choice === 'system' ? this.systemDark : this.choice === 'dark';
  }

  set(choice: Choice): void {
    this.choice = choice;
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Storage may be switched off: the choice then lasts until the next load.
    }
  }
}

export const theme = new Theme();
