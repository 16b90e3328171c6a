/** What a screen reader says about output: the beginning of its text. */

import { asText, PLOTLY_FIGURE } from "./frame/mime.js";
import type { OutputItem } from "./output_items.js";

/** Characters of output that are read out. */
const MAX_SPOKEN = 240;

// eslint-disable-next-line no-control-regex -- terminal text is made of control characters
const ESCAPE = /\x1b\[[0-?]*[ -/]*[@-~]/g;

function spoken(item: OutputItem, picture: string): string {
  switch (item.kind) {
    case "stream":
      return item.text;
    case "display": {
      const { data } = item;
      if (Object.keys(data).some((type) => type.startsWith("image/") || type === PLOTLY_FIGURE)) return `${picture} `;
      const plain = data["text/plain"];
      return plain === undefined ? "" : `${asText(plain).slice(0, MAX_SPOKEN)} `;
    }
    case "update":
    case "error":
    case "clear":
    case "comm":
      return "";
  }
}

/** Collects the beginning of an evaluation's output. */
export class Summary {
  private text = "";

  /** `picture`: what is said of a picture. */
  constructor(private readonly picture: string) {}

  add(item: OutputItem): void {
    if (item.kind === "clear") this.text = "";
    else if (this.text.length < MAX_SPOKEN) this.text += spoken(item, this.picture).slice(0, MAX_SPOKEN);
  }

  /** The beginning of the output, or "" when there was none. */
  toString(): string {
    const line = this.text.replace(ESCAPE, "").replace(/\s+/g, " ").trim();
    return line.length > MAX_SPOKEN ? `${line.slice(0, MAX_SPOKEN)}…` : line;
  }
}
