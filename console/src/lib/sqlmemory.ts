// What the SQL page remembers in this browser: its text, which survives a reload, and the last
// statements; never those with a password. Storage may be switched off or full; then nothing is
// remembered.

const TEXT = 'watershed.sql.text';
const HISTORY = 'watershed.sql.history';
/** Statements remembered, and the longest of them. */
export const HISTORY_MAX = 50;
const STATEMENT_MAX = 20_000;
const TEXT_MAX = 500_000;

/** Whether a value is written out that must not lie about in a browser. */
export const hasSecret = (sql: string): boolean =>
  /(password|passwd|secret|token|api_?key|access_?key|credential)\w*"?\s*(=>?|:)?\s*e?['$]/i.test(
    sql,
  );

function read(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? 'null');
  } catch {
    return null;
  }
}

function write(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // It then lasts until the next load.
  }
}

/** The text for a page with the query `q` in its URL: a link brings its own, a reload does not. */
export function remembered(q: string | null): string {
  const kept = read(TEXT) as { text?: unknown; q?: unknown } | null;
  const text = typeof kept?.text === 'string' ? kept.text : '';
  return q === null || q === kept?.q ? text : q;
}

export function remember(text: string, q: string | null): void {
  if (text.length <= TEXT_MAX && !hasSecret(text)) write(TEXT, { text, q });
}

export function history(): string[] {
  const kept = read(HISTORY);
  return Array.isArray(kept) ? kept.filter((s) => typeof s === 'string') : [];
}

/** The history with statements added: the newest first, each once. */
export function withStatements(old: string[], ran: string[]): string[] {
  const fresh = ran.filter((s) => s.length <= STATEMENT_MAX && !hasSecret(s)).reverse();
  return [...new Set([...fresh, ...old])].slice(0, HISTORY_MAX);
}

/** Reads again before it writes: another window may have asked something too. */
export function keep(ran: string[]): string[] {
  const all = withStatements(history(), ran);
  write(HISTORY, all);
  return all;
}

export function forget(): string[] {
  write(HISTORY, null);
  return [];
}
