import { describe, expect, it } from 'vitest';
import { aboutOf, factsOf, pageOf, stateOf } from '../../src/lib/objects.ts';

const object = (kind: string, info: Record<string, unknown>) => ({
  kind,
  name: 'a/b',
  depends_on: [],
  feeds: [],
  file: null,
  statement: '',
  info,
});

describe('objects', () => {
  it('leads to the page of a kind, and to the general one', () => {
    expect(pageOf(object('materialized view', {}))).toBe('/views/a%2Fb');
    expect(pageOf(object('model', {}))).toBe('/objects/a%2Fb');
  });
  it('tells a state only where there is one', () => {
    expect(stateOf(object('sink', { state: 'failed' }))).toBe('failed');
    expect(stateOf(object('topic', {}))).toBeUndefined();
  });
  it('says what it is in a line', () => {
    const view = { ...object('materialized view', {}), depends_on: ['a', 'b'], file: 'sql/v.sql' };
    expect(aboutOf(view)).toBe('Materialized view · with a, b · defined in sql/v.sql');
    expect(aboutOf(object('topic', {}))).toBe('Topic · typed in');
  });
  it('shows what can be read at a glance', () => {
    const info = { name: 'a/b', state: 'running', lag_events: 30000, columns: [{}], error: null };
    expect(factsOf(object('sink', info))).toEqual([['lag events', '30000']]);
  });
});
