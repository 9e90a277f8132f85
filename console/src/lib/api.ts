// The one door to the server: fetches JSON and turns every failure into an `ApiError` that carries
// problem details. A server that cannot be reached gives the code `unreachable`.
import type { ChosenLetters } from './local.ts';
import type * as T from './types.ts';

export class ApiError extends Error {
  problem: T.Problem;
  constructor(problem: T.Problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

/**
 * Parses JSON without losing digits: numbers that a double cannot hold become BigInt, or stay
 * text when they have a fraction. Older browsers that hide the source text get plain numbers.
 */
export function parseJson(text: string): unknown {
  if (!/\d{16}|\d\.\d{12}/.test(text)) return JSON.parse(text);
  const revive = (_: string, v: unknown, ctx?: { source?: string }) => {
    if (typeof v !== 'number' || !ctx?.source || String(v) === ctx.source) return v;
    if (/^-?\d+$/.test(ctx.source)) return Number.isSafeInteger(v) ? v : BigInt(ctx.source);
    return v;
  };
  return JSON.parse(text, revive as (k: string, v: unknown) => unknown);
}

export async function call<R>(path: string, init: RequestInit = {}): Promise<R> {
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      headers: { accept: 'application/json', ...init.headers },
    });
  } catch (e) {
    if (init.signal?.aborted) throw e;
    throw new ApiError({
      type: 'about:blank',
      title: 'unreachable',
      status: 0,
      code: 'unreachable',
      sqlstate: '',
      detail: 'Watershed does not answer',
      hint: 'is the program still running? the console goes on trying',
    });
  }
  const text = await response.text();
  if (response.ok) return parseJson(text) as R;
  throw new ApiError(toProblem(response.status, response.statusText, text));
}

export function toProblem(status: number, title: string, text: string): T.Problem {
  const plain = {
    type: 'about:blank',
    title: title || `HTTP ${status}`,
    status,
    code: String(status),
    sqlstate: '',
  };
  try {
    const body = JSON.parse(text) as Partial<T.Problem>;
    return { ...plain, detail: body.title ?? plain.title, ...body } as T.Problem;
  } catch {
    return { ...plain, detail: text.slice(0, 300) || plain.title };
  }
}

/** What is wrong with a view, source or sink, if anything is. */
export function errorText(e: T.Problem | undefined): string {
  return e?.detail ?? '';
}

const seg = encodeURIComponent;

function query(params: Record<string, string | number | null | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v != null && v !== '') q.set(k, String(v));
  const text = q.toString();
  return text && `?${text}`;
}

function post(body: unknown): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
}

export const api = {
  status: () => call<T.Status>('/api/status'),
  topics: () => call<T.Topic[]>('/api/topics'),
  topic: (name: string) => call<T.Topic>(`/api/topics/${seg(name)}/schema`),
  tail: (name: string, n: number) =>
    call<T.Events>(`/api/topics/${seg(name)}${query({ tail: n })}`),
  partitions: (name: string) => call<T.Partition[]>(`/api/topics/${seg(name)}/partitions`),
  records: (
    name: string,
    p: { partition?: string; from: string; key?: string; limit: number },
    signal?: AbortSignal,
  ) => call<T.LogRecords>(`/api/topics/${seg(name)}/records${query(p)}`, { signal }),
  produce: (name: string, record: T.NewRecord) =>
    call<T.Ingested>(`/api/topics/${seg(name)}/records`, post({ records: [record] })),
  groups: () => call<T.Group[]>('/api/groups'),
  objects: () => call<T.ObjectInfo[]>('/api/objects'),
  operators: (pipeline: string) =>
    call<T.Operator[]>(`/api/pipelines/${seg(pipeline)}/operators`),
  group: (name: string) => call<T.GroupDetail>(`/api/groups/${seg(name)}`),
  resetOffsets: (name: string, reset: T.Reset) =>
    call<T.ResetPlan>(`/api/groups/${seg(name)}/offsets`, post(reset)),
  deleteGroup: (name: string) =>
    call<T.DeletedGroup>(`/api/groups/${seg(name)}`, { method: 'DELETE' }),
  views: () => call<T.View[]>('/api/views'),
  rows: (view: string, params: Record<string, string | number>) =>
    call<T.Rows>(`/api/views/${seg(view)}${query(params)}`),
  changesUrl: (view: string) => `/api/views/${seg(view)}/changes`,
  dashboards: () => call<T.Dashboard[]>('/api/dashboards'),
  deadLetters: (p: { topic?: string; kind?: string; limit?: number; after?: string }) =>
    call<T.DeadLetters>(`/api/dead-letters${query(p)}`),
  /** `edited` is sent in the place of a letter's bytes, by its id. */
  resend: (p: T.Resend) =>
    call<T.Resent>('/api/dead-letters/resend', post(p)),
  deleteLetters: (p: ChosenLetters) =>
    call<T.DeletedLetters>(
      `/api/dead-letters${query({ ids: p.ids?.join(','), topic: p.topic, kind: p.kind })}`,
      { method: 'DELETE' },
    ),
  sql: (text: string, signal?: AbortSignal) =>
    call<T.SqlResult>('/api/sql', { ...post({ query: text }), signal }),
};
