/** `<code-cell>`: a cell as an element. */

import { Cell } from "./cell.js";
import { savedIn } from "./interacts.js";
import { checksOf, codeIn, explainOf, interactsIn, languagesOf, partsOf } from "./options.js";
import type { Server } from "./server.js";
import { linkedSession } from "./session.js";

/** Return whether an attribute is set to anything but "false". */
function flag(element: Element, name: string): boolean {
  return element.hasAttribute(name) && element.getAttribute(name) !== "false";
}

/** Define the element. Its attributes: language, languages, environment, profile, readonly, autoeval, linked, link-key, hide, explain,
 * keep-result, evaluate-label, ui-language, root. */
export function defineElement(serverAt: (root: string | null) => Server): void {
  if (customElements.get("code-cell")) return;

  class CodeCellElement extends HTMLElement {
    private cell: Cell | undefined;

    connectedCallback(): void {
      // While the page is still read, the children of the element are not there yet.
      if (document.readyState === "loading") {
        document.addEventListener(
          "DOMContentLoaded",
          () => {
            this.build();
          },
          { once: true },
        );
      } else {
        queueMicrotask(() => {
          this.build();
        });
      }
    }

    disconnectedCallback(): void {
      // An element that is only moved is connected again at once; its frame, which browsers reload, is not worth keeping.
      this.cell?.clearOutput();
      queueMicrotask(() => {
        if (this.isConnected) return;
        this.cell?.remove();
        this.cell = undefined;
      });
    }

    /** The code, as it stands in the editor. */
    get code(): string {
      return this.cell ? this.cell.code : codeIn(this);
    }

    set code(code: string) {
      if (this.cell) this.cell.code = code;
      else this.textContent = code;
    }

    evaluate(): void {
      this.cell?.evaluate();
    }

    stop(): void {
      this.cell?.stop();
    }

    override focus(): void {
      this.cell?.focus();
    }

    private build(): void {
      if (this.cell || !this.isConnected) return;
      const server = serverAt(this.getAttribute("root"));
      const key = this.getAttribute("link-key") ?? (flag(this, "linked") ? "page" : null);
      const hide = partsOf(this.getAttribute("hide"));
      const shadow = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      const code = codeIn(this);
      this.cell = new Cell({
        server,
        linked: key === null ? undefined : linkedSession(server, key),
        input: shadow,
        output: shadow,
        code,
        interacts: savedIn(interactsIn(this)),
        checks: checksOf(undefined, this),
        explain: explainOf(flag(this, "explain"), undefined, this),
        keepResult: flag(this, "keep-result"),
        languages: languagesOf(this.getAttribute("languages"), this.getAttribute("language"), "python"),
        wanted: { environment: this.getAttribute("environment") ?? "", profile: this.getAttribute("profile") ?? "" },
        readOnly: flag(this, "readonly"),
        evaluateLabel: this.getAttribute("evaluate-label") ?? undefined,
        speaks: this.getAttribute("ui-language") ?? undefined,
        hide,
        aliases: {},
        changed: () => {
          this.dispatchEvent(new Event("input", { bubbles: true }));
        },
      });
      if (flag(this, "autoeval") && code.trim() !== "") this.cell.evaluate();
    }
  }

  customElements.define("code-cell", CodeCellElement);
}
