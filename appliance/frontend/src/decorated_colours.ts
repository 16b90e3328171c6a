/** Colours for string decorators: Python leaves their texts out, and each is coloured as its own language. */

import { pythonLanguage, python } from "@codemirror/lang-python";
import { LanguageSupport, StreamLanguage } from "@codemirror/language";
import type { HighlightStyle } from "@codemirror/language";
import { StateEffect } from "@codemirror/state";
import type { Extension, Range } from "@codemirror/state";
import { Decoration, ViewPlugin } from "@codemirror/view";
import type { DecorationSet, EditorView, ViewUpdate } from "@codemirror/view";
import type { Parser } from "@lezer/common";
import { highlightTree } from "@lezer/highlight";

import { decoratedIn, languageOfDecorator } from "./decorated.js";

type Modes = typeof import("./modes.js");

/** Code longer than this is not searched for decorators at each key. */
const MAX_CHARACTERS = 200_000;

const HEAD = Decoration.mark({ class: "ca-decorator" });
const TEXT = Decoration.mark({ class: "ca-decorated" });

/** Python, blind to the texts of string decorators. */
export function decoratedPython(): LanguageSupport {
  const language = pythonLanguage.configure({
    wrap: (inner, input, _fragments, ranges) => {
      if (input.length > MAX_CHARACTERS) return inner;
      const gaps = decoratedIn(input.read(0, input.length)).map(({ head, end }) => ({ from: head.from, to: end.to }));
      if (gaps.length === 0) return inner;
      const left = ranges.flatMap(({ from, to }) => without(from, to, gaps));
      // what was parsed before may have had its gaps elsewhere
      return pythonLanguage.parser.startParse(input, [], left);
    },
  });
  return new LanguageSupport(language, python().support);
}

interface Span {
  readonly from: number;
  readonly to: number;
}

function without(from: number, to: number, gaps: readonly Span[]): Span[] {
  const parts: Span[] = [];
  let at = from;
  for (const gap of gaps) {
    if (gap.from > at && at < to) parts.push({ from: at, to: Math.min(gap.from, to) });
    at = Math.max(at, gap.to);
  }
  if (at < to) parts.push({ from: at, to });
  return parts;
}

/** Colour the texts of string decorators. `modes`: address of the bundle of further grammars, loaded with the first of them. */
export function decoratedColours(colours: HighlightStyle, modes: string): Extension {
  const loaded = StateEffect.define();
  const parsers = new Map<string, Parser>([["python", pythonLanguage.parser]]);
  let asked = false;

  const load = (view: EditorView): void => {
    asked = true;
    (import(modes) as Promise<Modes>)
      .then(({ MODES }) => {
        for (const [name, mode] of Object.entries(MODES)) parsers.set(name, StreamLanguage.define(mode).parser);
        view.dispatch({ effects: loaded.of(null) });
      })
      // a page that cannot load grammars has texts of one colour
      .catch(() => undefined);
  };

  const coloured = (view: EditorView): DecorationSet => {
    const { doc } = view.state;
    if (doc.length > MAX_CHARACTERS) return Decoration.none;
    const marks: Range<Decoration>[] = [];
    const mark = (from: number, to: number, decoration: Decoration): void => {
      if (from < to) marks.push(decoration.range(from, to));
    };
    for (const { head, text, end, name } of decoratedIn(doc.toString())) {
      mark(head.from, head.to, HEAD);
      mark(end.from, end.to, HEAD);
      const language = languageOfDecorator(name);
      const parser = parsers.get(language);
      if (!parser) {
        if (!asked) load(view);
        mark(text.from, text.to, TEXT);
        continue;
      }
      highlightTree(parser.parse(doc.sliceString(text.from, text.to)), colours, (from, to, classes) => {
        mark(text.from + from, text.from + to, Decoration.mark({ class: classes }));
      });
    }
    return Decoration.set(marks, true);
  };

  return ViewPlugin.fromClass(
    class {
      decorations: DecorationSet;

      constructor(view: EditorView) {
        this.decorations = coloured(view);
      }

      update(update: ViewUpdate): void {
        const more = update.transactions.some((one) => one.effects.some((effect) => effect.is(loaded)));
        if (update.docChanged || more) this.decorations = coloured(update.view);
      }
    },
    { decorations: (plugin) => plugin.decorations },
  );
}
