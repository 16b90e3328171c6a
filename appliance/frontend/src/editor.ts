/** The code editor: CodeMirror with Python, and keys that never trap the keyboard. */

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus } from "@codemirror/autocomplete";
import type { CompletionSource } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import {
  HighlightStyle,
  StreamLanguage,
  bracketMatching,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { Compartment, EditorState, Prec } from "@codemirror/state";
import type { Extension } from "@codemirror/state";
import { EditorView, drawSelection, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

import { decoratedColours, decoratedPython } from "./decorated_colours.js";

/** How long after Escape the next Tab leaves the editor; any other key ends it at once. */
const TAB_LEAVES_MILLISECONDS = 60_000;

export interface EditorOptions {
  readonly parent: HTMLElement;
  readonly root: Document | ShadowRoot;
  readonly code: string;
  readonly language: string;
  readonly label: string;
  /** What the keys do, for who does not see them. */
  readonly keys: string;
  /** Address of the bundle of further grammars. */
  readonly modes: string;
  readonly readOnly: boolean;
  readonly complete: CompletionSource;
  readonly evaluate: () => void;
  readonly changed: (code: string) => void;
}

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--ca-keyword)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--ca-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--ca-number)" },
  { tag: [tags.comment], color: "var(--ca-comment)", fontStyle: "italic" },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.definition(tags.className)], color: "var(--ca-name)" },
  { tag: [tags.tagName, tags.typeName], color: "var(--ca-keyword)" },
  { tag: [tags.meta, tags.self, tags.attributeName], color: "var(--ca-name)" },
  { tag: tags.invalid, color: "var(--ca-danger)" },
]);

const theme = EditorView.theme({
  "&": { color: "var(--ca-text)", backgroundColor: "transparent", fontSize: "14px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--ca-mono)", lineHeight: "1.55", maxHeight: "32rem" },
  ".cm-content": { padding: "10px 0", minHeight: "3.1em", caretColor: "var(--ca-text)" },
  ".cm-line": { padding: "0 14px 0 8px" },
  ".cm-gutters": {
    border: "0",
    backgroundColor: "transparent",
    color: "var(--ca-muted)",
    fontVariantNumeric: "tabular-nums",
  },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 8px 0 14px", minWidth: "1.6em" },
  ".cm-cursor": { borderLeftColor: "var(--ca-text)", borderLeftWidth: "1.5px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--ca-selection)",
  },
  ".cm-tooltip": { border: "1px solid var(--ca-line)", backgroundColor: "var(--ca-ground)", color: "var(--ca-text)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { background: "var(--ca-accent)", color: "var(--ca-on-accent)" },
  ".ca-decorator": { color: "var(--ca-keyword)" },
  ".ca-decorated": { color: "var(--ca-string)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--ca-selection)" },
});

type Modes = typeof import("./modes.js");

/** What changes with the language of a cell. */
const grammar = new Compartment();
const description = new Compartment();

/** Python's grammar is here; "sage" is Python to it. */
function grammarOf(language: string, modes: string): Extension {
  if (language !== "python" && language !== "sage") return [];
  return [decoratedPython(), decoratedColours(colours, modes), indentUnit.of("    ")];
}

function described(label: string, keys: string): Extension {
  return EditorView.contentAttributes.of({
    "aria-label": label,
    "aria-description": keys,
    spellcheck: "false",
    autocapitalize: "off",
    // what is editable can be reached by keyboard anyway; those who check pages look for this
    tabindex: "0",
  });
}

/** Load the grammar of a language, if there is one; without it the code is plain text. `modes`: address of the bundle. */
async function loadGrammar(view: EditorView, language: string, modes: string): Promise<void> {
  const { MODES } = (await import(modes)) as Modes;
  if (!Object.hasOwn(MODES, language)) return;
  const mode = MODES[language as keyof typeof MODES];
  view.dispatch({ effects: grammar.reconfigure(StreamLanguage.define(mode)) });
}

/** Make an editor one of another language. */
export function setLanguage(view: EditorView, language: string, label: string, keys: string, modes: string): void {
  view.dispatch({ effects: [grammar.reconfigure(grammarOf(language, modes)), description.reconfigure(described(label, keys))] });
  // a page that cannot load the grammar has an editor without colours
  if (language !== "python" && language !== "sage") loadGrammar(view, language, modes).catch(() => undefined);
}

export function createEditor(options: EditorOptions): EditorView {
  const run = (): boolean => {
    options.evaluate();
    return true;
  };
  const view = new EditorView({
    parent: options.parent,
    root: options.root,
    state: EditorState.create({
      doc: options.code,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        EditorState.tabSize.of(4),
        EditorState.readOnly.of(options.readOnly),
        Prec.highest(
          keymap.of([
            { key: "Shift-Enter", run },
            { key: "Mod-Enter", run },
          ]),
        ),
        autocompletion({ override: [options.complete], activateOnTyping: false, defaultKeymap: false }),
        keymap.of([...completionKeymap, ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, indentWithTab]),
        EditorView.domEventHandlers({
          keyup: (event, view) => {
            if (event.key === "Escape") view.setTabFocusMode(TAB_LEAVES_MILLISECONDS);
          },
        }),
        description.of(described(options.label, options.keys)),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed(update.state.doc.toString());
        }),
        grammar.of(grammarOf(options.language, options.modes)),
        syntaxHighlighting(colours),
        theme,
      ],
    }),
  });
  setLanguage(view, options.language, options.label, options.keys, options.modes);
  return view;
}

/** Return whether a list stands in the editor that Escape closes. */
export function offersCompletions(view: EditorView): boolean {
  return completionStatus(view.state) !== null;
}

export function replaceCode(view: EditorView, code: string): void {
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: code } });
}
