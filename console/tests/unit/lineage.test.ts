import { describe, expect, it } from 'vitest';
import { lineage, stepOf, stepsOf } from '../../src/lib/lineage.ts';

const step = (id: string, feeds: string[]) => ({
  id,
  kind: 'topic',
  title: id,
  figure: '',
  tone: '' as const,
  feeds,
});
const placed = (objects: [string, string[]][]) => {
  const { places, ...rest } = lineage(objects.map(([name, feeds]) => step(name, feeds)));
  const at = Object.fromEntries(places.map((p) => [p.step.id, `${p.column},${p.row}`]));
  return { at, ...rest };
};

describe('lineage', () => {
  it('is nothing where there is nothing', () => {
    expect(placed([])).toEqual({ at: {}, edges: [], columns: 0, rows: 0 });
  });
  it('puts each behind the last that feeds it', () => {
    const flow = placed([
      ['topic', ['near', 'far']],
      ['source', ['topic']],
      ['near', ['far']],
      ['far', []],
    ]);
    expect(flow.at).toEqual({ source: '0,0', topic: '1,0', near: '2,0', far: '3,0' });
    expect(flow.edges.length).toBe(4);
  });
  it('puts each next to the first that it feeds', () => {
    const flow = placed([
      ['far', ['join']],
      ['near', ['sum']],
      ['sum', ['join']],
      ['join', []],
    ]);
    expect(flow.at).toEqual({ near: '0,0', far: '1,0', sum: '1,1', join: '2,0' });
  });
  it('puts each beside what feeds it', () => {
    const flow = placed([
      ['a', ['of_a']],
      ['b', ['of_b']],
      ['of_b', []],
      ['of_a', []],
    ]);
    expect(flow.at).toEqual({ a: '0,0', b: '0,1', of_a: '1,0', of_b: '1,1' });
    expect([flow.columns, flow.rows]).toEqual([2, 2]);
  });
  it('leaves out what is not listed, and ends when names go in a circle', () => {
    expect(placed([['a', ['gone']]]).edges).toEqual([]);
    expect(placed([['a', ['b']], ['b', ['a']]]).edges.length).toBe(2);
  });
  it('says how a step goes', () => {
    const object = {
      kind: 'materialized view',
      name: 'v',
      depends_on: ['t'],
      feeds: ['s'],
      file: null,
      statement: '',
      info: { state: 'running', events_per_second: 20, lag_events: 1500 },
    };
    expect(stepOf(object)).toEqual({
      id: 'v',
      kind: 'view',
      title: 'v',
      figure: '20/s · 1,500 events behind',
      tone: '',
      href: '/views/v',
      feeds: ['s'],
    });
    expect(stepOf({ ...object, info: { state: 'failed' } })).toMatchObject({
      figure: 'failed',
      tone: 'bad',
    });
    const operator = {
      operator: 7,
      name: 'project',
      inputs: [],
      rows_in: 9,
      rows_out: 9,
      rows_per_second: 20,
      groups: 0,
      state_bytes: 0,
    };
    const [first, last] = stepsOf([
      operator,
      { ...operator, operator: 9, inputs: [7], state_bytes: 2000 },
    ]);
    expect([first?.feeds, first?.figure]).toEqual([['9'], '20/s in']);
    expect([last?.feeds, last?.figure]).toEqual([[], '20/s in · keeps 2 kB']);
  });
});
