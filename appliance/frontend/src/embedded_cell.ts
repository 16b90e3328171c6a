/** The script that pages load: the global `cellAppliance` and the element `<code-cell>`. */

import { Cell } from "./cell.js";
import { defineElement } from "./element.js";
import { savedIn } from "./interacts.js";
import { isObject } from "./messages.js";
import type { Json } from "./messages.js";
import { checksOf, codeOf, elementsOf, explainOf, languagesOf, linkKeyOf, partsOf, wantedOf, withTemplate } from "./options.js";
import { findRoot, rememberScript } from "./root.js";
import { Server } from "./server.js";
import { linkedSession } from "./session.js";

const FILE = "embedded_cell.js";
const PROPERTY = "cell-appliance-root";

rememberScript(FILE);

/** What `makeCell` returns. */
interface CellHandle {
  code: string;
  evaluate(): void;
  stop(): void;
  remove(): void;
}

let calls = 0;

function shadowIn(element: HTMLElement): ShadowRoot {
  const host = document.createElement("div");
  element.append(host);
  return host.attachShadow({ mode: "open" });
}

function makeCell(given: unknown): CellHandle {
  if (!isObject(given)) throw new TypeError("makeCell: expected an object of options");
  const options: Json = withTemplate(given);
  const location = options.element ?? options.inputLocation;
  const [element, ...others] = elementsOf(location);
  if (!element || others.length > 0) {
    throw new TypeError(`makeCell: inputLocation must name one element, and names ${element ? others.length + 1 : 0}`);
  }
  calls += 1;
  const server = new Server(findRoot(options.root, PROPERTY, FILE));
  const key = linkKeyOf(options, `call ${calls}`);
  const code = codeOf(options, element);
  const checks = checksOf(options.checks, element);
  const explain = explainOf(options.explain, options.explanations, element);
  const hide = partsOf(options.hide);
  element.textContent = "";
  const input = shadowIn(element);
  const [outputElement] = elementsOf(options.outputLocation);
  const cell = new Cell({
    server,
    linked: key === undefined ? undefined : linkedSession(server, key),
    input,
    output: outputElement && outputElement !== element ? shadowIn(outputElement) : input,
    code,
    interacts: savedIn(options.interacts),
    checks,
    explain,
    keepResult: options.keepResult === true,
    languages: languagesOf(options.languages, options.language, "python"),
    wanted: wantedOf(options),
    readOnly: options.readonly === true,
    evaluateLabel: typeof options.evalButtonText === "string" ? options.evalButtonText : undefined,
    speaks: typeof options.uiLanguage === "string" ? options.uiLanguage : undefined,
    hide,
    aliases: {},
    changed: () => undefined,
  });
  if (options.autoeval === true && code.trim() !== "") cell.evaluate();
  const { callback } = options;
  if (typeof callback === "function") (callback as () => void)();
  return {
    get code() {
      return cell.code;
    },
    set code(text: string) {
      cell.code = text;
    },
    evaluate: () => {
      cell.evaluate();
    },
    stop: () => {
      cell.stop();
    },
    remove: () => {
      cell.remove();
    },
  };
}

const api = Object.freeze({ makeCell });

declare global {
  interface Window {
    cellAppliance?: typeof api;
  }
}

// A page may load the script twice, directly and through a plug-in.
window.cellAppliance ??= api;
defineElement((root) => new Server(findRoot(root, PROPERTY, FILE)));
