/** HTML output: its scripts run here, in the frame's opaque origin, and nowhere else. */

import { typeset } from "./latex.js";

const JAVASCRIPT = /^(?:|module|(?:text|application)\/(?:x-)?(?:java|ecma)script)$/;

/** Scripts put in by `innerHTML` never run (HTML, "already started"): run copies, one after the other. */
async function runScripts(root: HTMLElement): Promise<void> {
  for (const inert of [...root.querySelectorAll("script")]) {
    if (!JAVASCRIPT.test(inert.type.trim().toLowerCase())) continue;
    const script = document.createElement("script");
    for (const { name, value } of inert.attributes) script.setAttribute(name, value);
    script.textContent = inert.textContent;
    if (script.src === "") {
      inert.replaceWith(script);
      continue;
    }
    script.async = false;
    await new Promise((resolve) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", resolve);
      inert.replaceWith(script);
    });
  }
}

/** `<script type="math/tex">` is how Sage writes formulas into HTML. */
async function typesetMath(root: HTMLElement, base: string): Promise<void> {
  for (const script of [...root.querySelectorAll<HTMLScriptElement>('script[type^="math/tex"]')]) {
    const formula = document.createElement("span");
    script.replaceWith(formula);
    await typeset(formula, script.textContent, base, script.type.includes("mode=display"));
  }
}

/** Elements whose text is shown as it is. */
const VERBATIM = "pre, code, script, style, textarea, .katex";

/** `\(…\)` and `\[…\]`, as Sage writes formulas too. Dollars stay: they are prices as often. */
const DELIMITED = /\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\]/g;

/** Typeset the formulas in the text of HTML. */
async function typesetText(root: HTMLElement, base: string): Promise<void> {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found: Text[] = [];
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (text instanceof Text && !text.parentElement?.closest(VERBATIM)) found.push(text);
  }
  for (const text of found) {
    const parts: Node[] = [];
    const formulas: Promise<void>[] = [];
    let at = 0;
    for (const match of text.data.matchAll(DELIMITED)) {
      const [whole, inline, display] = match;
      const formula = document.createElement("span");
      parts.push(document.createTextNode(text.data.slice(at, match.index)), formula);
      formulas.push(typeset(formula, inline ?? display ?? "", base, inline === undefined));
      at = match.index + whole.length;
    }
    if (formulas.length === 0) continue;
    text.replaceWith(...parts, document.createTextNode(text.data.slice(at)));
    await Promise.all(formulas);
  }
}

/** Fill `target`, which must be in the document, with `html`. */
export async function fillWithHtml(target: HTMLElement, html: string, base: string): Promise<void> {
  target.innerHTML = html;
  await Promise.all([runScripts(target), typesetMath(target, base), typesetText(target, base)]);
}
