/** What takes a cell's code elsewhere: links, a picture of one for a telephone, HTML for another page, a notebook. */

import { generate } from "lean-qr/nano";

import { icon, make } from "./dom.js";
import type { Strings } from "./strings/catalogue.js";

const CROSS = "M4 4l8 8M12 4l-8 8";

const SVG = "http://www.w3.org/2000/svg";

/** White around a QR code, in modules (ISO/IEC 18004). */
const QUIET_MODULES = 4;

async function copy(field: HTMLInputElement): Promise<boolean> {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    // Pages without TLS, and frames without permission, have no clipboard: the selected text can still be copied by keys.
    return false;
  }
}

/** Draw a QR code: dark modules as one path, on white whatever the page's colours are. */
export function qrOf(text: string, label: string): SVGSVGElement {
  const code = generate(text);
  const side = code.size + 2 * QUIET_MODULES;
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${side} ${side}`);
  picture.setAttribute("class", "ca-qr");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  picture.setAttribute("shape-rendering", "crispEdges");
  const ground = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ width: side, height: side, fill: "#fff" })) ground.setAttribute(name, String(value));
  let path = "";
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) if (code.get(x, y)) path += `M${x + QUIET_MODULES} ${y + QUIET_MODULES}h1v1h-1z`;
  }
  const dark = document.createElementNS(SVG, "path");
  dark.setAttribute("d", path);
  dark.setAttribute("fill", "#000");
  picture.append(ground, dark);
  return picture;
}

export interface Shared {
  readonly stored: string;
  readonly complete: string;
  /** HTML for another page. */
  readonly snippet: string;
}

export class SharePanel {
  readonly element: HTMLElement;
  private readonly fields = make("div", "ca-share-fields");

  constructor(
    private readonly texts: Strings,
    private readonly announce: (text: string) => void,
    closed: () => void,
    private readonly download: () => void,
  ) {
    this.element = make("div", "ca-share-panel", { role: "group", "aria-label": texts.links, hidden: "" });
    const close = make("button", "ca-button ca-quiet ca-close", { type: "button", "aria-label": texts.closeLinks });
    close.append(icon(CROSS));
    close.addEventListener("click", () => {
      this.hide();
      closed();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.hide();
      closed();
    });
    this.element.append(this.fields, close);
  }

  show(links: Shared): void {
    const { texts } = this;
    const first = this.field(texts.shortLink, texts.shortLinkNote, links.stored, "ca-link-stored");
    const second = this.field(texts.longLink, texts.longLinkNote, links.complete, "ca-link-complete");
    const third = this.field(texts.embed, texts.embedNote, links.snippet, "ca-link-snippet");
    const notebook = make("button", "ca-button ca-notebook", { type: "button" }, texts.notebook);
    notebook.addEventListener("click", this.download);
    const further = make("div", "ca-share-further", {}, qrOf(links.stored, texts.qr), notebook);
    this.fields.replaceChildren(first.row, second.row, third.row, further);
    this.element.hidden = false;
    first.input.focus();
    first.input.select();
  }

  hide(): void {
    this.element.hidden = true;
  }

  private field(title: string, note: string, link: string, name: string): { row: HTMLElement; input: HTMLInputElement } {
    const { texts } = this;
    const input = make("input", `ca-link ${name}`, { type: "text", readonly: "", spellcheck: "false", dir: "ltr" });
    input.value = link;
    const caption = make("span", "ca-caption", {}, title, make("span", "ca-muted", {}, ` ${note}`));
    const button = make("button", "ca-button ca-copy", { type: "button", "aria-label": texts.copyWhat(title) }, texts.copy);
    button.addEventListener("click", () => {
      void copy(input).then((copied) => {
        button.textContent = copied ? texts.copied : texts.selected;
        this.announce(copied ? texts.copiedSaid(title) : texts.selectedSaid(title));
      });
    });
    return { row: make("div", "ca-share-row", {}, make("label", "ca-label", {}, caption, input), button), input };
  }
}
