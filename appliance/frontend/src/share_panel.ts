/** The links that share a cell's code. */

import { icon, make } from "./dom.js";

const CROSS = "M4 4l8 8M12 4l-8 8";

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

export class SharePanel {
  readonly element = make("div", "ca-share-panel", { role: "group", "aria-label": "Links to this code", hidden: "" });
  private readonly fields = make("div", "ca-share-fields");

  constructor(
    private readonly announce: (text: string) => void,
    closed: () => void,
  ) {
    const close = make("button", "ca-button ca-quiet ca-close", { type: "button", "aria-label": "Close the links" });
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

  show(links: { stored: string; complete: string }): void {
    const first = this.field("Short link", "The server keeps the code.", links.stored, "ca-link-stored");
    const second = this.field("Long link", "The link itself contains the code.", links.complete, "ca-link-complete");
    this.fields.replaceChildren(first.row, second.row);
    this.element.hidden = false;
    first.input.focus();
    first.input.select();
  }

  hide(): void {
    this.element.hidden = true;
  }

  private field(title: string, note: string, link: string, name: string): { row: HTMLElement; input: HTMLInputElement } {
    const input = make("input", `ca-link ${name}`, { type: "text", readonly: "", spellcheck: "false" });
    input.value = link;
    const caption = make("span", "ca-caption", {}, title, make("span", "ca-muted", {}, ` ${note}`));
    const button = make("button", "ca-button ca-copy", { type: "button", "aria-label": `Copy the ${title.toLowerCase()}` }, "Copy");
    button.addEventListener("click", () => {
      void copy(input).then((copied) => {
        button.textContent = copied ? "Copied" : "Selected";
        this.announce(copied ? `${title} copied.` : `${title} selected: press Control and C to copy it.`);
      });
    });
    return { row: make("div", "ca-share-row", {}, make("label", "ca-label", {}, caption, input), button), input };
  }
}
