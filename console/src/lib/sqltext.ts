// SQL as coloured words for reading; the editor (ten times the bytes) is only loaded for writing.

export interface Token {
  text: string;
  kind: 'keyword' | 'string' | 'number' | 'comment' | 'name' | 'other';
}

export const TYPES =
  'text double float real bigint int integer smallint boolean timestamp date decimal interval array struct map'.split(
    ' ',
  );

export const KEYWORDS = new Set(
  (
    'select from where group by having order limit offset as and or not null is in between like ' +
    'case when then else end join left right full outer inner cross on using union all distinct with ' +
    'create drop insert values if exists primary key check default cast asc desc nulls first last ' +
    'filter true false topic source sink materialized view watermark into for show describe ' +
    'explain window session_window over partition qualify asof'
  )
    .split(' ')
    .concat(TYPES),
);

const LEX =
  /(--[^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^']|'')*')|(\b\d+(?:\.\d+)?\b)|("(?:[^"]|"")*"|\b[A-Za-z_]\w*\b)|([\s\S])/g;

export function tokens(sql: string): Token[] {
  const out: Token[] = [];
  for (const m of sql.matchAll(LEX)) {
    const text = m[0];
    let kind: Token['kind'] = 'other';
    if (m[1]) kind = 'comment';
    else if (m[2]) kind = 'string';
    else if (m[3]) kind = 'number';
    else if (m[4]) kind = KEYWORDS.has(text.toLowerCase()) ? 'keyword' : 'name';
    const last = out.at(-1);
    if (last && last.kind === kind && kind === 'other') last.text += text;
    else out.push({ text, kind });
  }
  return out;
}
