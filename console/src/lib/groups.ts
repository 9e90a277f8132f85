// What groups mean to a reader: the states of Kafka in a sentence, and lag in words.
import { compact } from './format.ts';

const MEANINGS: Record<string, string> = {
  Stable: 'its members read',
  Empty: 'nobody reads now; its offsets are kept',
  PreparingRebalance: 'members are joining or leaving',
  CompletingRebalance: 'partitions are being assigned',
  Assigning: 'partitions are being assigned',
  Reconciling: 'members take over their partitions',
  Dead: 'there is no such group',
};

export function meaning(state: string): string {
  return MEANINGS[state] ?? '';
}

/** Records behind; a group that committed nothing has no lag that could be told. */
export function behind(lag: number | null | undefined): string {
  if (lag == null) return 'nothing committed';
  return lag === 0 ? 'up to date' : compact(lag);
}
