// Shapes that only the console needs; those of the REST contract stand in `types.ts`, which is made.
import type { Resend } from './types.ts';

/** A row of a view or topic, by column. */
export type Row = Record<string, unknown>;

/** Which letters are meant: by id, or all of a topic, a kind, or both. */
export type ChosenLetters = Pick<Resend, 'ids' | 'topic' | 'kind'>;
