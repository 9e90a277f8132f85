// Cuts SQL text at the semicolons that end statements, not at those in strings, names and comments,
// because the server takes one statement at a time. Strings are the server's: a backslash escapes,
// a quote is written twice, `$$…$$` holds anything, and block comments nest.
import type { Problem } from './types.ts';

export interface Statement {
  text: string;
  /** Where it begins, from 1, columns in characters as in a `Place`. */
  line: number;
  column: number;
}

export function split(sql: string): Statement[] {
  const out: Statement[] = [];
  let start = 0;
  let at = 0;
  let filled = false;
  const end = () => {
    if (filled) out.push(statement(sql, start, at));
    filled = false;
  };
  while (at < sql.length) {
    const c = sql[at]!;
    if (c === ';') {
      end();
      start = ++at;
    } else if (/\s/.test(c)) {
      at++;
    } else if (sql.startsWith('--', at)) {
      at = past(sql, '\n', at);
    } else if (sql.startsWith('/*', at)) {
      at = comment(sql, at);
    } else {
      filled = true;
      at = word(sql, at);
    }
  }
  end();
  return out;
}

/** Behind the word, string or sign at `at`. */
function word(sql: string, at: number): number {
  const c = sql[at]!;
  if (c === "'") return quoted(sql, at);
  if (c === '"' || c === '`') return past(sql, c, at + 1);
  if (c === '$') {
    const tag = /^\$(?:[A-Za-z_]\w*)?\$/.exec(sql.slice(at, at + 70))?.[0];
    return tag ? past(sql, tag, at + tag.length) : at + 1;
  }
  // A whole word, so that the dollar of `a$$b` begins no string.
  const name = /^[\p{L}_][\p{L}\p{N}_$]*/u.exec(sql.slice(at, at + 200))?.[0];
  return at + (name?.length ?? 1);
}

function past(sql: string, end: string, from: number): number {
  const found = sql.indexOf(end, from);
  return found < 0 ? sql.length : found + end.length;
}

function quoted(sql: string, from: number): number {
  for (let at = from + 1; at < sql.length; at++) {
    if (sql[at] === '\\') at++;
    // A doubled quote ends one string and begins another, which cuts at the same places.
    else if (sql[at] === "'") return at + 1;
  }
  return sql.length;
}

function comment(sql: string, from: number): number {
  let depth = 0;
  for (let at = from; at < sql.length; at++) {
    if (sql.startsWith('/*', at)) (depth++, at++);
    else if (sql.startsWith('*/', at)) {
      at++;
      if (--depth === 0) return at + 1;
    }
  }
  return sql.length;
}

function statement(sql: string, from: number, to: number): Statement {
  const text = sql.slice(from, to);
  const begins = from + (text.length - text.trimStart().length);
  const before = sql.slice(0, begins).split('\n');
  return { text: text.trim(), line: before.length, column: [...before.at(-1)!].length + 1 };
}

/** A problem of one statement, at its place in the whole text. */
export function moved(problem: Problem, s: Statement, sql: string): Problem {
  const p = problem.place;
  if (!p || p.file) return problem;
  const column = (line: number, c: number) => (line === 1 ? c + s.column - 1 : c);
  const line = p.line + s.line - 1;
  return {
    ...problem,
    place: {
      ...p,
      line,
      column: column(p.line, p.column),
      end_line: p.end_line + s.line - 1,
      end_column: column(p.end_line, p.end_column),
      text: sql.split('\n')[line - 1] ?? p.text,
    },
  };
}
