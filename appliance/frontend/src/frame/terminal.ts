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

function appendSpans(target: HTMLElement, spans: readonly Span[]): void {
  for (const { text, style } of spans) {
    if (Object.keys(style).length > 0) {
      target.append(element(text, style));
    } else if (target.lastChild instanceof Text) {
      target.lastChild.appendData(text);
    } else {
      target.append(text);
    }
  }
}

/** A `<pre>` that is written to as to a terminal. */
export class TerminalBlock {
  readonly element = document.createElement("pre");
  private readonly text = new TerminalText();
  private readonly finished = document.createElement("span");
  private readonly current = document.createElement("span");

  constructor(className: string) {
    this.element.className = className;
    this.element.append(this.finished, this.current);
  }

  /** Show the next chunk; returns how many nodes stand in the block. */
  write(chunk: string): number {
    appendSpans(this.finished, this.text.write(chunk));
    this.current.textContent = "";
    appendSpans(this.current, this.text.current);
    return this.finished.childNodes.length + this.current.childNodes.length;
  }
}
