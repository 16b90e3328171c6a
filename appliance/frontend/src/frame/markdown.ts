/** Markdown: shown by marked, which is loaded with the first of it; formulas in it are typeset. */

import { assetName } from "../assets.js";
import { fillWithHtml } from "./html.js";
import { pieces, typeset } from "./latex.js";

type Marked = typeof import("./marked.js");

let loading: Promise<Marked> | undefined;

export interface Formula {
  readonly text: string;
  readonly display: boolean;
}

/** Code spans and fenced code are no formulas, whatever they hold. */
const CODE = /(```[\s\S]*?(?:```|$)|`[^`\n]*`)/;

/** Take formulas out of the text, since Markdown would read their backslashes and underscores as its own. */
export function withoutMath(source: string): { text: string; formulas: Formula[] } {
  const formulas: Formula[] = [];
  const text = source
    .split(CODE)
    .map((part, index) => (index % 2 === 1 ? part : replaceMath(part, formulas)))
    .join("");
  return { text, formulas };
}

function replaceMath(part: string, formulas: Formula[]): string {
  let result = "";
  let at = 0;
  for (const piece of pieces(part)) {
    if (!piece.math) continue;
    result += `${part.slice(at, piece.start)}<span data-formula="${formulas.length}"></span>`;
    formulas.push({ text: piece.text, display: piece.display });
    at = piece.end;
  }
  return result + part.slice(at);
}

/** Fill `target`, which must be in the document: at once with the text, then with what it means. */
export async function fillWithMarkdown(target: HTMLElement, source: string, base: string): Promise<void> {
  target.textContent = source;
  loading ??= import(`${base}${assetName("marked.js")}`) as Promise<Marked>;
  const { toHtml } = await loading;
  const { text, formulas } = withoutMath(source);
  target.classList.add("markdown");
  await fillWithHtml(target, toHtml(text), base);
  for (const place of target.querySelectorAll<HTMLElement>("[data-formula]")) {
    const formula = formulas[Number(place.dataset.formula)];
    if (formula) await typeset(place, formula.text, base, formula.display);
  }
}
