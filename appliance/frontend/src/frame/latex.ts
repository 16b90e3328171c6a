/** Formulas: `text/latex` output, typeset by KaTeX, which is loaded with the first of them. */

import { assetName } from "../assets.js";

export interface Piece {
  readonly math: boolean;
  readonly display: boolean;
  /** Of a formula, without its delimiters. */
  readonly text: string;
  /** Where it stands in the source, with its delimiters. */
  readonly start: number;
  readonly end: number;
}

type Katex = typeof import("./katex.js");

/** Limits for KaTeX: a macro that expands without end, and a rule or space of absurd size. */
const MAX_EXPANSIONS = 1_000;
const MAX_SIZE_EM = 50;

const MATH =
  /\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$((?:\\[\s\S]|[^$\\])+?)\$|(\\begin\{([a-zA-Z]+\*?)\}[\s\S]+?\\end\{\6\})/g;

/** Split LaTeX text into formulas and the text between them. */
export function pieces(source: string): Piece[] {
  const result: Piece[] = [];
  let at = 0;
  const prose = (start: number, end: number): void => {
    const text = source.slice(start, end);
    if (text.trim() !== "") result.push({ math: false, display: false, text, start, end });
  };
  for (const match of source.matchAll(MATH)) {
    const start = match.index;
    prose(at, start);
    const [whole, dollars, brackets, parentheses, dollar, environment] = match;
    const inline = parentheses ?? dollar;
    // Jupyter front ends show a lone `$\displaystyle …$` as a formula of its own; so does this one.
    const display = inline === undefined || inline.trimStart().startsWith("\\displaystyle");
    at = start + whole.length;
    result.push({ math: true, display, text: inline ?? dollars ?? brackets ?? environment ?? whole, start, end: at });
  }
  prose(at, source.length);
  return result;
}

let loading: Promise<Katex> | undefined;

function load(base: string): Promise<Katex> {
  loading ??= (async () => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = `${base}${assetName("katex.css")}`;
    const styled = new Promise((resolve) => {
      style.addEventListener("load", resolve);
      style.addEventListener("error", resolve);
    });
    document.head.append(style);
    const [module] = await Promise.all([import(`${base}${assetName("katex.js")}`) as Promise<Katex>, styled]);
    return module;
  })();
  return loading;
}

/** Show `source` in `target`: at once as text, then typeset. Resolves when it is. */
export async function typeset(target: HTMLElement, source: string, base: string, display?: boolean): Promise<void> {
  target.textContent = source;
  const katex = await load(base);
  const parts: Pick<Piece, "math" | "display" | "text">[] = display === undefined ? pieces(source) : [{ math: true, display, text: source }];
  target.textContent = "";
  for (const part of parts) {
    const element = document.createElement("span");
    if (part.math) {
      katex.render(part.text, element, {
        displayMode: part.display,
        throwOnError: false,
        trust: false,
        strict: "ignore",
        maxExpand: MAX_EXPANSIONS,
        maxSize: MAX_SIZE_EM,
      });
    } else {
      element.textContent = part.text;
    }
    target.append(element);
  }
}
