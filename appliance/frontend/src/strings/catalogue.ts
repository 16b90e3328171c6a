/** In which language a cell speaks to its visitor: that of the page around it. */

import { de } from "./de.js";
import { en } from "./en.js";
import type { Strings } from "./en.js";
import { es } from "./es.js";
import { fr } from "./fr.js";
import { zh } from "./zh.js";

export type { Strings };

/** Catalogues by the language's subtag (RFC 5646). */
export const CATALOGUES: Readonly<Record<string, Strings>> = { en, de, es, fr, zh };

/** Return the catalogue of the first language tag of which there is one, else English. */
export function stringsFor(...tags: readonly (string | null | undefined)[]): Strings {
  for (const tag of tags) {
    const [language = ""] = (tag ?? "").toLowerCase().split(/[-_]/);
    const found = Object.hasOwn(CATALOGUES, language) ? CATALOGUES[language] : undefined;
    if (found) return found;
  }
  return en;
}

/** Return the language that the page declares for an element, or "". Shadow trees are looked out of. */
export function languageOf(node: Node): string {
  for (let at: Node | null = node; at; at = at instanceof ShadowRoot ? at.host : at.parentNode) {
    const language = at instanceof Element ? at.getAttribute("lang") : null;
    if (language) return language;
  }
  return "";
}

/** Return why a kernel ended, or what was refused, in the visitor's language; `sentence` is what the server says. */
export function told(words: Readonly<Record<string, string>>, code: string, sentence: string): string {
  return (Object.hasOwn(words, code) ? words[code] : undefined) ?? sentence;
}
