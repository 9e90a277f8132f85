// Several statements in one text, and what the SQL page remembers of them.
import shared from '../../../tests/split.json';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { toCsv } from '../../src/lib/plot.ts';
import * as memory from '../../src/lib/sqlmemory.ts';
import { moved, split } from '../../src/lib/statements.ts';

describe('statements', () => {
  it.each([
    ['SELECT 1; SELECT 2;', ['SELECT 1', 'SELECT 2']],
    ["SELECT ';' ; x", ["SELECT ';'", 'x']],
    ["SELECT 'it''s;' \";\" `;`; y", ["SELECT 'it''s;' \";\" `;`", 'y']],
    [String.raw`SELECT 'it\'s;'; y`, [String.raw`SELECT 'it\'s;'`, 'y']],
    ['-- a;\nSELECT 1;', ['-- a;\nSELECT 1']],
    ['/* ; /* ; */ ; */ SELECT 1; -- ;', ['/* ; /* ; */ ; */ SELECT 1']],
    ['SELECT $$a;b$$; SELECT $x$ $$; $x$', ['SELECT $$a;b$$', 'SELECT $x$ $$; $x$']],
    ['SELECT a$$b; SELECT $1; SELECT $', ['SELECT a$$b', 'SELECT $1', 'SELECT $']],
    [';; -- nothing\n/* here */;', []],
    ["SELECT 'open; x", ["SELECT 'open; x"]],
    ['SELECT $$open; x', ['SELECT $$open; x']],
    ['/* open; x', []],
    ['', []],
  ])('end where they end: %s', (sql, texts) => {
    expect(split(sql).map((s) => s.text)).toEqual(texts);
  });

  // The tokenizer of the server cuts at the same places (crates/sql/src/split.rs).
  it.each(shared)('end where the server ends them: $text', ({ text, statements, rest }) => {
    expect(split(text).map((s) => s.text)).toEqual([...statements, ...(rest ? [rest] : [])]);
  });

  it('know where they begin', () => {
    const places = split("SELECT '😀';  SELECT 2;\n\n SELECT 3").map((s) => [s.line, s.column]);
    expect(places).toEqual([
      [1, 1],
      [1, 14],
      [3, 2],
    ]);
  });

  it('have their problems at the place in the whole text', () => {
    const sql = 'SELECT 1; SELECT x\nFROM y';
    const problem = (line: number, column: number) => ({
      type: 'about:blank',
      title: 'invalid',
      status: 400,
      code: 'invalid',
      sqlstate: '22023',
      detail: 'no',
      place: {
        file: null as string | null,
        line,
        column,
        end_line: line,
        end_column: column + 1,
        text: 'SELECT x',
      },
    });
    const second = split(sql)[1]!;
    const text = 'SELECT 1; SELECT x';
    const place = { file: null, line: 1, column: 18, end_line: 1, end_column: 19, text };
    expect(moved(problem(1, 8), second, sql).place).toEqual(place);
    expect(moved(problem(2, 6), second, sql).place).toMatchObject({ line: 2, column: 6 });
    const elsewhere = { ...problem(1, 8), place: { ...problem(1, 8).place, file: 'a.sql' } };
    expect(moved(elsewhere, second, sql)).toBe(elsewhere);
  });
});

describe('memory', () => {
  const kept = new Map<string, string>();
  beforeEach(() => {
    kept.clear();
    vi.stubGlobal('localStorage', {
      getItem: (k: string) => kept.get(k) ?? null,
      setItem: (k: string, v: string) => void kept.set(k, v),
      removeItem: (k: string) => void kept.delete(k),
    });
  });

  it('gives the text back after a reload, and a link its own', () => {
    expect(memory.remembered(null)).toBe('');
    memory.remember('SELECT 2', 'SELECT 1');
    expect(memory.remembered(null)).toBe('SELECT 2');
    expect(memory.remembered('SELECT 1')).toBe('SELECT 2');
    expect(memory.remembered('SELECT 3')).toBe('SELECT 3');
  });

  it('holds the last fifty statements, newest first, each once', () => {
    for (let i = 0; i < 60; i++) memory.keep([`SELECT ${i}`]);
    memory.keep(['SELECT 30', 'SELECT 59']);
    expect(memory.history()).toHaveLength(memory.HISTORY_MAX);
    expect(memory.history().slice(0, 3)).toEqual(['SELECT 59', 'SELECT 30', 'SELECT 58']);
    expect(memory.forget()).toEqual([]);
    expect(memory.history()).toEqual([]);
  });

  it.each([
    ["CREATE USER a PASSWORD 'x'", true],
    ["CREATE SOURCE s WITH (sasl_password = 'x')", true],
    ['CREATE USER a PASSWORD $$x$$', true],
    ['SELECT password FROM accounts', false],
  ])('keeps no password: %s', (sql, secret) => {
    memory.remember(sql, null);
    expect(memory.hasSecret(sql)).toBe(secret);
    expect(memory.keep([sql])).toEqual(secret ? [] : [sql]);
    expect(memory.remembered(null)).toBe(secret ? '' : sql);
  });

  it('does without storage', () => {
    const refused = () => {
      throw new Error('no');
    };
    vi.stubGlobal('localStorage', { getItem: refused, setItem: refused, removeItem: refused });
    memory.remember('SELECT 1', null);
    expect(memory.remembered(null)).toBe('');
    expect(memory.keep(['SELECT 1'])).toEqual(['SELECT 1']);
  });
});

it('CSV holds numbers beyond a double in structs too', () => {
  const columns = [{ name: 'a', type: 'STRUCT<b: BIGINT>', nullable: true }];
  expect(toCsv(columns, [{ a: { b: 9007199254740993n } }])).toContain('9007199254740993');
});
