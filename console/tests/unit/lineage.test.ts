import { describe, expect, it } from 'vitest';
import { lineage } from '../../src/lib/lineage.ts';

const object = (name: string, feeds: string[]) => ({
  kind: 'topic',
  name,
  depends_on: [],
  feeds,
  file: null,
  statement: '',
  info: {},
});
const placed = (objects: [string, string[]][]) => {
  const { places, ...rest } = lineage(objects.map(([name, feeds]) => object(name, feeds)));
  const at = Object.fromEntries(places.map((p) => [p.object.name, `${p.column},${p.row}`]));
  return { at, ...rest };
};

describe('lineage', () => {
  it('is nothing where there is nothing', () => {
    expect(placed([])).toEqual({ at: {}, edges: [], columns: 0, rows: 0 });
  });
  it('puts each a column behind the last that feeds it', () => {
    const flow = placed([
      ['topic', ['near', 'far']],
      ['source', ['topic']],
      ['near', ['far']],
      ['far', []],
    ]);
    expect(flow.at).toEqual({ source: '0,0', topic: '1,0', near: '2,0', far: '3,0' });
    expect(flow.edges.length).toBe(4);
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
});
