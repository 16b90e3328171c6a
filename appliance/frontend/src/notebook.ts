/** A cell as a notebook (nbformat 4.5): its program, and what it showed last. */

import { isObject, randomId, textOf } from "./messages.js";
import type { Json } from "./messages.js";
import type { OutputItem } from "./output_items.js";

/** Output that is kept for a notebook, in characters; the frame shows more. */
const MAX_KEPT_CHARACTERS = 4_000_000;

/** Types of which a notebook holds JSON itself instead of text. */
const JSON_TYPE = /^application\/(?:.*\+)?json$/;

/** Collects an evaluation's output in the form of a notebook's. */
export class Transcript {
  private outputs: Json[] = [];
  private size = 0;
  private cleared = false;

  add(item: OutputItem): void {
    if (item.kind === "comm") return;
    if (item.kind === "clear") {
      if (item.wait) this.cleared = true;
      else this.reset();
      return;
    }
    if (this.cleared) this.reset();
    if (item.kind === "update") {
      for (const output of this.outputs) if (item.displayId !== "" && output.id === item.displayId) output.data = item.data;
      return;
    }
    const output = outputOf(item);
    const size = JSON.stringify(output).length;
    if (this.size + size > MAX_KEPT_CHARACTERS) return;
    this.size += size;
    const last = this.outputs.at(-1);
    if (item.kind === "stream" && last?.name === item.name) last.text = textOf(last.text) + item.text;
    else this.outputs.push(output);
  }

  /** What a notebook's cell holds as `outputs`. */
  get list(): Json[] {
    return this.outputs.map((output) => Object.fromEntries(Object.entries(output).filter(([name]) => name !== "id")));
  }

  private reset(): void {
    this.outputs = [];
    this.size = 0;
    this.cleared = false;
  }
}

function outputOf(item: OutputItem & { kind: "stream" | "display" | "error" }): Json {
  switch (item.kind) {
    case "stream":
      return { output_type: "stream", name: item.name, text: item.text };
    case "display":
      return { output_type: "display_data", data: bundleOf(item.data), metadata: item.metadata, id: item.displayId };
    case "error": {
      const lines = item.text.split("\n");
      // eslint-disable-next-line no-control-regex -- a traceback has colours
      const [, ename = "Error", evalue = ""] = /^(\w+): ?(.*)$/.exec((lines.at(-1) ?? "").replace(/\x1b\[[0-9;]*m/g, "")) ?? [];
      return { output_type: "error", ename, evalue, traceback: lines };
    }
  }
}

function bundleOf(data: Json): Json {
  return Object.fromEntries(
    Object.entries(data).filter(([type, value]) => typeof value === "string" || (JSON_TYPE.test(type) && isObject(value))),
  );
}

/** What a notebook holds of a cell. */
export interface NotebookCell {
  readonly code: string;
  readonly outputs: readonly Json[];
}

/** Return a notebook's text. */
export function notebookOf(cells: readonly NotebookCell[], language: string): string {
  const name = language === "sage" ? "python" : language;
  const notebook = {
    cells: cells.map(({ code, outputs }) => ({
      cell_type: "code",
      id: randomId().slice(0, 8),
      execution_count: null,
      metadata: {},
      source: code,
      outputs,
    })),
    metadata: { kernelspec: { name, display_name: name }, language_info: { name } },
    nbformat: 4,
    nbformat_minor: 5,
  };
  return `${JSON.stringify(notebook, undefined, 1)}\n`;
}

/** Return HTML that makes another page have these cells; several are linked there, too. */
export function snippetOf(root: string, cells: readonly { readonly code: string; readonly language: string }[]): string {
  const link = cells.length > 1 ? ' linked=""' : "";
  return [
    `<script src="${root}static/embedded_cell.js" defer></script>`,
    ...cells.map(({ code, language }) => {
      const text = JSON.stringify(code).replace(/</g, "\\u003c");
      const name = language.replace(/[^\w.+-]/g, "");
      return `<code-cell language="${name}"${link}><script type="application/json">${text}</script></code-cell>`;
    }),
  ].join("\n");
}
