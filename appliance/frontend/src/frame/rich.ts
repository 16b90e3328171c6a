/** Blocks of rich output: one element for each `display_data` or `execute_result`. */

import { isObject, textOf } from "../messages.js";
import type { Json } from "../messages.js";
import { fillWithHtml } from "./html.js";
import { jsonTree } from "./json.js";
import { typeset } from "./latex.js";
import { fillWithMarkdown } from "./markdown.js";
import { asText, PLOTLY_FIGURE, richest, WIDGET_VIEW } from "./mime.js";
import type { Rich } from "./mime.js";
import { fillWithPlotly } from "./plotly_figures.js";
import { widgets } from "./widget_messages.js";

/** Largest width or height believed from metadata, in CSS pixels. */
const MAX_PIXELS = 10_000;

function pixels(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 && value <= MAX_PIXELS ? Math.round(value) : undefined;
}

function image(source: string, description: string, metadata: unknown): HTMLImageElement {
  const element = document.createElement("img");
  element.src = source;
  element.alt = description;
  if (isObject(metadata)) {
    const width = pixels(metadata.width);
    const height = pixels(metadata.height);
    if (width !== undefined) element.width = width;
    if (height !== undefined) element.height = height;
  }
  return element;
}

function preformatted(text: string): HTMLPreElement {
  const element = document.createElement("pre");
  element.textContent = text;
  return element;
}

/** Run a script in the frame's opaque origin; `element` is its place in the output, as in notebooks. */
function run(block: HTMLElement, code: string): void {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- what a visitor's program displays runs here, and nowhere else
    const script = new Function("element", code) as (element: HTMLElement) => void;
    script(block);
  } catch (error) {
    block.append(preformatted(`Javascript: ${String(error)}`));
  }
}

/**
 * Fill `block`, which must be in the document. Resolves when scripts have run and formulas are typeset.
 * `base`: address of the folder of the frame's own files.
 */
export async function fill(block: HTMLElement, data: Json, metadata: Json, base: string): Promise<void> {
  const rich: Rich | undefined = richest(data);
  block.textContent = "";
  if (!rich) return;
  const text = rich.type === PLOTLY_FIGURE ? "" : asText(rich.value);
  const description = data["text/plain"] === undefined ? "Picture" : asText(data["text/plain"]);
  block.dataset.mime = rich.type;
  switch (rich.type) {
    case WIDGET_VIEW:
      await widgets.display(block, isObject(rich.value) ? textOf(rich.value.model_id) : "");
      return;
    case PLOTLY_FIGURE:
      await fillWithPlotly(block, rich.value, base);
      return;
    case "text/html":
      await fillWithHtml(block, text, base);
      return;
    case "text/latex":
      await typeset(block, text, base);
      return;
    case "image/svg+xml": {
      // As an image its ids cannot clash with those of other pictures, and it runs nothing.
      const address = URL.createObjectURL(new Blob([text], { type: rich.type }));
      const element = image(address, description, metadata[rich.type]);
      element.addEventListener("load", () => {
        URL.revokeObjectURL(address);
      });
      block.append(element);
      return;
    }
    case "image/png":
    case "image/jpeg":
    case "image/gif":
    case "image/webp":
      block.append(image(`data:${rich.type};base64,${text.replace(/\s/g, "")}`, description, metadata[rich.type]));
      return;
    case "application/javascript":
      run(block, text);
      return;
    case "application/json":
      block.append(jsonTree(rich.value));
      return;
    case "text/markdown":
      await fillWithMarkdown(block, text, base);
      return;
    case "text/plain":
      block.append(preformatted(text));
  }
}
