// Dead letters: where each came from, what can be done with it, what came of it, their export.
import { describe, expect, it } from 'vitest';
import * as L from '../../src/lib/letters.ts';
import { fileName } from '../../src/lib/download.ts';
import type { DeadLetter } from '../../src/lib/types.ts';

const letter = (more: Partial<DeadLetter> = {}): DeadLetter => ({
  id: '7',
  at: '2026-11-29T10:00:00Z',
  topic: 'orders',
  kind: 'type',
  reason: 'no number',
  raw: '{"price":"n/a"}',
  ...more,
});

describe('a letter', () => {
  it.each([
    [letter(), ''],
    [letter({ file: 'orders.csv', line: 7, column: 'price' }), 'orders.csv, line 7, column price'],
    [letter({ line: 2, partition: 0, offset: 118 }), 'line 2, 0 / 118'],
    [letter({ partition: 1, offset: undefined }), ''],
  ])('has a place (%#)', (l, text) => expect(L.place(l)).toBe(text));

  it.each([
    [letter(), true],
    [letter({ resent_at: '2026-11-29T11:00:00Z' }), false],
    [letter({ view: 'daily', kind: 'late' }), false],
    [letter({ kind: 'omitted' }), false],
  ])('can be sent, or not (%#)', (l, yes) => expect(L.canBeSent(l)).toBe(yes));
});

describe('what came of it', () => {
  it('is one line, with those that are left only where there are some', () => {
    expect(L.outcome({ accepted: 2, refused: 1, left: {} })).toBe('2 accepted, 1 refused again');
    const left = { 4: 'it was sent again already', 5: 'it was sent again already', 6: 'of a view' };
    const some = { accepted: 0, refused: 0, left };
    expect(L.outcome(some)).toBe('0 accepted, 0 refused again, 3 left');
    expect(L.whyLeft(some)).toEqual([
      '2 letters left: it was sent again already',
      'one letter left: of a view',
    ]);
  });
});

describe('requests', () => {
  it('name only what was given', () => {
    expect(L.given({ topic: 'orders', kind: '' })).toEqual({ topic: 'orders' });
    expect(L.given({ ids: ['1'] })).toEqual({ ids: ['1'] });
  });
  it('take so many letters at a time', () => {
    expect(L.pieces([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(L.pieces([])).toEqual([]);
  });
});

describe('export', () => {
  it('takes page after page, one letter a line', async () => {
    const asked: (string | undefined)[] = [];
    const pages = [
      { rows: [letter({ id: '9', raw: 'a\nb' }), letter({ id: '8' })], next: '8', total: 3 },
      { rows: [letter()], next: null, total: 3 },
    ];
    const lines = await L.ndjson(async (after) => (asked.push(after), pages.shift()!));
    expect(asked).toEqual([undefined, '8']);
    expect(lines.map((l) => (JSON.parse(l) as DeadLetter).id)).toEqual(['9', '8', '7']);
    expect(lines.every((l) => l.indexOf('\n') === l.length - 1)).toBe(true);
  });
  it('has a name that every file system takes', () => {
    const name = fileName('dead-letters-orders', 'ndjson', new Date('2026-11-29T10:04:05.5Z'));
    expect(name).toBe('dead-letters-orders-2026-11-29T10-04-05.ndjson');
  });
});
