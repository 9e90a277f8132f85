// The SQL editor, in a file of its own so that CodeMirror is only fetched where one writes SQL. It
// lives in a shadow root: its styles are then adopted style sheets, which a strict content
// security policy allows, where style elements would need 'unsafe-inline'.
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { sql, SQLDialect, type SQLNamespace } from '@codemirror/lang-sql';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, lintKeymap, setDiagnostics } from '@codemirror/lint';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { drawSelection, EditorView, keymap, lineNumbers, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { KEYWORDS, TYPES } from './sqltext.ts';
import type { Column, Problem } from './types.ts';

export interface Editor {
  text: () => string;
  setText: (text: string) => void;
  insert: (text: string) => void;
  setNames: (names: { name: string; columns: Column[] }[]) => void;
  /** Underlines the place of an error; null takes the line away. */
  setProblem: (problem: Problem | null) => void;
  focus: () => void;
  destroy: () => void;
}

// Only the words of our own dialect: names like "percent" or "value" are columns, not keywords.
const dialect = SQLDialect.define({
  keywords: [...KEYWORDS].filter((k) => !TYPES.includes(k)).join(' '),
  types: TYPES.join(' '),
  builtin: 'count sum avg min max first_value last_value coalesce now date_trunc round abs',
  doubleQuotedStrings: false,
});

const colors = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--sql-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--sql-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--sql-number)' },
  { tag: tags.typeName, color: 'var(--sql-keyword)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
]);

const look = EditorView.theme({
  '&': { backgroundColor: 'transparent', color: 'var(--text)', fontSize: '13.5px' },
  '&.cm-focused': {
    outline: '2px solid var(--accent)',
    outlineOffset: '-1px',
    borderRadius: '9px',
  },
  '.cm-scroller': {
    fontFamily: 'var(--mono)',
    lineHeight: '1.6',
    minHeight: '132px',
    maxHeight: '44vh',
  },
  '.cm-content': { caretColor: 'var(--accent)', padding: '10px 0' },
  '.cm-cursor': { borderLeftColor: 'var(--accent)' },
  '.cm-gutters': {
    backgroundColor: 'transparent',
    color: 'var(--muted)',
    border: '0',
    paddingLeft: '6px',
  },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground':
    {
      backgroundColor: 'var(--accent-soft)',
    },
  '.cm-placeholder': { color: 'var(--muted)' },
  '.cm-tooltip': {
    backgroundColor: 'var(--surface)',
    color: 'var(--text)',
    border: '1px solid var(--border)',
    borderRadius: '8px',
    overflow: 'hidden',
    boxShadow: '0 6px 24px rgb(0 0 0 / 18%)',
  },
  '.cm-tooltip-autocomplete > ul > li': { padding: '3px 10px' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    backgroundColor: 'var(--accent)',
    color: 'var(--on-accent)',
  },
  '.cm-completionDetail': { opacity: '.75', fontStyle: 'normal' },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--warn)',
    textUnderlineOffset: '4px',
  },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--warn-line)' },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': {
    backgroundColor: 'var(--accent-soft)',
  },
});

export function createEditor(
  host: HTMLElement,
  options: { text: string; onChange: (text: string) => void; onRun: () => void },
): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const language = new Compartment();
  const run = () => (options.onRun(), true);
  const view = new EditorView({
    root,
    parent: root as unknown as Element,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        syntaxHighlighting(colors),
        language.of(sql({ dialect, upperCaseKeywords: true })),
        placeholder('SELECT …'),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': 'SQL, run with Control Enter' }),
        look,
        // Tab is left to the browser, so that the keyboard gets out of the editor.
        Prec.highest(
          keymap.of([
            { key: 'Mod-Enter', run },
            { key: 'Ctrl-Enter', run },
          ]),
        ),
        keymap.of([
          ...closeBracketsKeymap,
          ...completionKeymap,
          ...defaultKeymap,
          ...historyKeymap,
          ...lintKeymap,
        ]),
        EditorView.updateListener.of((u) => {
          if (u.docChanged) options.onChange(u.state.doc.toString());
        }),
      ],
    }),
  });

  return {
    text: () => view.state.doc.toString(),
    setText: (text) =>
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    insert: (text) => {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    setNames: (names) => {
      const schema: SQLNamespace = Object.fromEntries(
        names.map((n) => [
          n.name,
          n.columns.map((c) => ({ label: c.name, detail: c.type.toLowerCase(), type: 'property' })),
        ]),
      );
      const extension = sql({ dialect, schema, upperCaseKeywords: true });
      // Columns are offered without their table too, as people write them.
      const columns = [
        ...new Map(names.flatMap((n) => n.columns).map((c) => [c.name, c])).values(),
      ];
      const bare = dialect.language.data.of({
        autocomplete: (ctx: import('@codemirror/autocomplete').CompletionContext) => {
          const word = ctx.matchBefore(/\w+/);
          if (!word || ctx.state.sliceDoc(word.from - 1, word.from) === '.') return null;
          const list = columns.map((c) => ({
            label: c.name,
            detail: c.type.toLowerCase(),
            type: 'property',
            boost: 1,
          }));
          return { from: word.from, options: list, validFor: /^\w*$/ };
        },
      });
      view.dispatch({ effects: language.reconfigure([extension, bare]) });
    },
    setProblem: (problem) => {
      const diagnostics = problem?.place ? [diagnosticOf(view.state, problem)] : [];
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}

/** Lines and columns of a problem count from 1, columns in characters. */
function diagnosticOf(state: EditorState, problem: Problem): Diagnostic {
  const p = problem.place!;
  const at = (line: number, column: number) => {
    const l = state.doc.line(Math.min(Math.max(line, 1), state.doc.lines));
    const units = [...l.text].slice(0, Math.max(column - 1, 0)).join('').length;
    return Math.min(l.from + units, l.to);
  };
  let from = at(p.line, p.column);
  const to = Math.max(at(p.end_line, p.end_column), Math.min(from + 1, state.doc.length));
  if (from === to && from > 0) from--;
  const message = problem.hint ? `${problem.detail}. ${problem.hint}` : problem.detail;
  return { from, to, severity: 'error', message };
}
