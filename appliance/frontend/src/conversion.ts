/** A program of Python 2, and what to change in it: offered by the kernel, decided by the visitor. */

import { make } from "./dom.js";
import { isObject } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";

const MIME = "application/vnd.cell-appliance.conversion+json";

/** Lines from `start` to before `end`, from 0, become `lines`. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly lines: readonly string[];
}

export interface Conversion {
  readonly edits: readonly Edit[];
  /** Whether the program divides: quotients of whole numbers were whole numbers. */
  readonly division: boolean;
}

function editOf(value: unknown): Edit | undefined {
  if (!Array.isArray(value)) return undefined;
  const [start, end, lines] = value as unknown[];
  if (typeof start !== "number" || typeof end !== "number" || !Array.isArray(lines)) return undefined;
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start) return undefined;
  return lines.every((line) => typeof line === "string") ? { start, end, lines } : undefined;
}

/** Return the conversion that a message offers, or `undefined` when it offers none that can be made. */
export function conversionOf(message: KernelMessage): Conversion | undefined {
  if (message.type !== "display_data" || !isObject(message.content.data)) return undefined;
  const told = message.content.data[MIME];
  if (!isObject(told) || !Array.isArray(told.edits)) return undefined;
  const edits: Edit[] = [];
  let behind = 0;
  for (const value of told.edits) {
    const edit = editOf(value);
    if (!edit || edit.start < behind) return undefined;
    edits.push(edit);
    behind = edit.end;
  }
  return edits.length > 0 ? { edits, division: told.division === true } : undefined;
}

/** Return code with edits made. */
export function converted(code: string, edits: readonly Edit[]): string {
  const lines = code.split("\n");
  for (const { start, end, lines: fresh } of [...edits].reverse()) lines.splice(start, end - start, ...fresh);
  return lines.join("\n");
}

/** Shows a conversion as old and new lines, with a button that takes it. */
export class ConversionPanel {
  readonly element: HTMLElement;

  constructor(
    private readonly texts: Strings,
    private readonly take: (code: string) => void,
  ) {
    this.element = make("div", "ca-aid ca-conversion", { role: "group", "aria-label": texts.conversion, hidden: "" });
  }

  show(code: string, { edits, division }: Conversion): void {
    const lines = code.split("\n");
    const changes = edits.flatMap((edit) => [
      ...lines.slice(edit.start, edit.end).map((line) => this.line("del", edit.start, line)),
      ...edit.lines.map((line) => this.line("ins", edit.start, line)),
    ]);
    const button = make("button", "ca-button", { type: "button" }, this.texts.convert);
    button.addEventListener("click", () => {
      this.clear();
      this.take(converted(code, edits));
    });
    const parts = [
      make("p", "", {}, this.texts.conversionOffered),
      make("div", "ca-diff", { role: "group", tabindex: "0", "aria-label": this.texts.changes, dir: "ltr" }, ...changes),
    ];
    if (division) parts.push(make("p", "ca-muted", {}, this.texts.conversionDivides));
    this.element.replaceChildren(...parts, button);
    this.element.hidden = false;
  }

  clear(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  private line(kind: "del" | "ins", start: number, text: string): HTMLElement {
    const said = kind === "del" ? this.texts.oldLine : this.texts.newLine;
    const mark = make("span", "ca-diff-mark", { "aria-hidden": "true" }, kind === "del" ? "−" : "+");
    const spoken = make("span", "ca-visually-hidden", {}, `${said(start + 1)} `);
    return make("div", `ca-diff-line ca-diff-${kind}`, {}, mark, spoken, make(kind, "", {}, text));
  }
}
