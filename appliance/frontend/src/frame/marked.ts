/** The part of marked that the frame uses, in a bundle of its own. */

import { marked } from "marked";

/** Return Markdown as HTML; what is in it is no more trusted than other output, and stays in this frame. */
export function toHtml(source: string): string {
  return marked.parse(source, { async: false, gfm: true });
}
