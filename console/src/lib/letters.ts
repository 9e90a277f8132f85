// Dead letters without a page: what can be done with each, what became of those sent again, and
// their export as the command `watershed dead-letters --export` writes it.
import { count, raw } from './format.ts';
import type { ChosenLetters } from './local.ts';
import type { DeadLetter, DeadLetters, Resent } from './types.ts';

/** Letters asked for, or removed, in one request. */
export const AT_ONCE = 200;

/** Whether it waits for somebody: nobody sent it again yet. */
export const isOpen = (l: DeadLetter): boolean => !l.resent_at;

/** Whether it can be sent (again) at all; the server says of the others why they stay. */
export const canBeSent = (l: DeadLetter): boolean => isOpen(l) && !l.view && l.kind !== 'omitted';

/** Where it came from: "orders.csv, line 7, column price" or "line 2, 0 / 118". */
export function place(l: DeadLetter): string {
  const parts = [];
  if (l.file) parts.push(l.file);
  if (l.line != null) parts.push(`line ${l.line}`);
  if (l.column) parts.push(`column ${l.column}`);
  if (l.partition != null && l.offset != null) parts.push(`${l.partition} / ${l.offset}`);
  return parts.join(', ');
}

export const letters = (n: number): string => (n === 1 ? 'one letter' : `${count(n)} letters`);

/** What came of sending, in a line: "2 accepted, 1 refused again, 1 left". */
export function outcome(r: Resent): string {
  const left = Object.keys(r.left).length;
  return (
    `${count(r.accepted)} accepted, ${count(r.refused)} refused again` +
    (left > 0 ? `, ${count(left)} left` : '')
  );
}

/** Why some are left, each reason once with the number of its letters. */
export function whyLeft(r: Resent): string[] {
  const times = new Map<string, number>();
  for (const why of Object.values(r.left)) times.set(why, (times.get(why) ?? 0) + 1);
  return [...times].map(([why, n]) => `${letters(n)} left: ${why}`);
}

/** All letters of a filter, one a line; `page` asks for those after the last one. */
export async function ndjson(
  page: (after: string | undefined) => Promise<DeadLetters>,
): Promise<string[]> {
  const lines: string[] = [];
  let after: string | undefined;
  do {
    const answer = await page(after);
    for (const letter of answer.rows) lines.push(raw(letter) + '\n');
    after = answer.next ?? undefined;
  } while (after !== undefined);
  return lines;
}

/** Without what is empty: the server takes an empty topic or kind for one it does not know. */
export function given(c: ChosenLetters): ChosenLetters {
  return Object.fromEntries(Object.entries(c).filter(([, v]) => v && v.length > 0));
}

export function pieces<T>(all: T[], size = AT_ONCE): T[][] {
  const out: T[][] = [];
  for (let i = 0; i < all.length; i += size) out.push(all.slice(i, i + size));
  return out;
}
