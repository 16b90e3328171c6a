/** Terminal text on the page. */

import { TerminalText } from "./ansi.js";
import type { Span, Style } from "./ansi.js";

/** Names of the palette in classes `ansi-NAME-fg` and `ansi-NAME-bg`. */
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

function colour(element: HTMLElement, value: number | string | undefined, ground: "fg" | "bg"): void {
  if (value === undefined) return;
  if (typeof value === "number") {
    element.classList.add(`ansi-${value >= 8 ? "intense-" : ""}${NAMES[value % 8] ?? "black"}-${ground}`);
    return;
  }
  element.classList.add(`ansi-exact-${ground}`);
  element.style.setProperty(`--exact-${ground}`, value);
}

function element(text: string, style: Style): HTMLSpanElement {
  const span = document.createElement("span");
  span.textContent = text;
  const { foreground, background, inverse } = style;
  colour(span, inverse ? background : foreground, "fg");
  colour(span, inverse ? foreground : background, "bg");
  if (inverse && foreground === undefined) span.classList.add("ansi-default-inverse-bg");
  if (inverse && background === undefined) span.classList.add("ansi-default-inverse-fg");
  for (const name of ["bold", "faint", "italic", "underline", "struck"] as const) {
    if (style[name]) span.classList.add(`ansi-${name}`);
  }
  return span;
}

/** Append spans; returns how many nodes that made. */
function appendSpans(target: HTMLElement, spans: readonly Span[]): number {
  const before = target.childNodes.length;
  for (const { text, style } of spans) {
    if (Object.keys(style).length > 0) {
      target.append(element(text, style));
    } else if (target.lastChild instanceof Text) {
      target.lastChild.appendData(text);
    } else {
      target.append(text);
    }
  }
  return target.childNodes.length - before;
}

/** Lines of this many characters stand in one block: when text is added, a browser lays its whole block out again. */
const PAGE_CHARACTERS = 8_192;

/** A `<pre>` that is written to as to a terminal. */
export class TerminalBlock {
  readonly element = document.createElement("pre");
  private readonly text = new TerminalText();
  private readonly current = document.createElement("span");
  private page = document.createElement("div");
  private filled = 0;
  private finishedNodes = 0;

  constructor(className: string) {
    this.element.className = className;
    this.element.append(this.current);
  }

  /** Show the next chunk; returns how many nodes stand in the block. */
  write(chunk: string): number {
    for (const span of this.text.write(chunk)) this.finish(span);
    this.current.textContent = "";
    return this.finishedNodes + appendSpans(this.current, this.text.current);
  }

  private finish({ text, style }: Span): void {
    for (let at = 0; at < text.length; ) {
      if (this.filled === 0) this.current.before(this.page);
      const newline = text.indexOf("\n", Math.max(at, at + PAGE_CHARACTERS - this.filled - 1));
      const end = newline < 0 ? text.length : newline + 1;
      this.finishedNodes += appendSpans(this.page, [{ text: text.slice(at, end), style }]);
      this.filled += end - at;
      at = end;
      if (newline >= 0) {
        this.page = document.createElement("div");
        this.filled = 0;
      }
    }
  }
}
