// Sets the stored theme before the first paint, so that a dark page never flashes white. It is a
// file of its own because inline scripts are forbidden by the content security policy.
try {
  const theme = localStorage.getItem('watershed.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be switched off: the system's theme is used then.
}
