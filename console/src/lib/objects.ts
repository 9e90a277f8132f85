// Objects of any kind: kinds with a page of their own are shown there, others on a general one.
import { cell } from './format.ts';
import type { ObjectInfo } from './types.ts';

const ROOMS: Record<string, string> = {
  topic: 'topics',
  source: 'sources',
  'materialized view': 'views',
  sink: 'sinks',
};

export function pageOf(object: ObjectInfo): string {
  return `/${ROOMS[object.kind] ?? 'objects'}/${encodeURIComponent(object.name)}`;
}

/** Of those that run: as the server says it. */
export function stateOf(object: ObjectInfo): string | undefined {
  return typeof object.info.state === 'string' ? object.info.state : undefined;
}

/** What it is, and where it stands, in a line. */
export function aboutOf(object: ObjectInfo): string {
  const from = object.depends_on.length ? [`with ${object.depends_on.join(', ')}`] : [];
  const kind = object.kind.charAt(0).toUpperCase() + object.kind.slice(1);
  return [kind, ...from, object.file ? `defined in ${object.file}` : 'typed in'].join(' · ');
}

/** What a kind tells of its object beside its name, as pairs to show. */
export function factsOf(object: ObjectInfo): [label: string, value: string][] {
  const plain = (v: unknown) => ['string', 'number', 'boolean', 'bigint'].includes(typeof v);
  const facts = Object.entries(object.info).filter(([k, v]) => plain(v) && !HIDDEN.has(k));
  return facts.map(([k, v]) => [k.replaceAll('_', ' '), cell(v)]);
}

const HIDDEN = new Set(['name', 'state', 'file', 'sql']);
