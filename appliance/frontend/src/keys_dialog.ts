/** The list of keys: F1 opens it, and so does a question mark where nothing is being written. */

import { make } from "./dom.js";
import type { Strings } from "./strings/catalogue.js";

function writes(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, select, textarea"));
}

export class KeysDialog {
  readonly element: HTMLDialogElement;

  /** `scope`: where the keys are heard. */
  constructor(texts: Strings, scope: HTMLElement) {
    const rows = texts.keys.map(([keys, meaning]) =>
      make("div", "ca-key-row", {}, make("dt", "", {}, make("kbd", "", {}, keys)), make("dd", "", {}, meaning)),
    );
    const close = make("button", "ca-button", { type: "button" }, texts.close);
    close.addEventListener("click", () => {
      this.element.close();
    });
    this.element = make(
      "dialog",
      "ca-keys",
      { "aria-label": texts.keysTitle },
      make("p", "ca-keys-title", {}, texts.keysTitle),
      make("dl", "", {}, ...rows),
      close,
    );
    scope.addEventListener("keydown", (event) => {
      if (event.key !== "F1" && (event.key !== "?" || writes(event.target))) return;
      event.preventDefault();
      this.show();
    });
  }

  show(): void {
    if (!this.element.open) this.element.showModal();
  }
}
