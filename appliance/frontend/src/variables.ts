/** The variables of a session: a button, and the panel that it opens. */

import { icon, make } from "./dom.js";
import { isObject, textOf } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";

const MIME = "application/vnd.cell-appliance.variables+json";

/** Variables that are shown. */
const MAX_SHOWN = 200;

const MAX_CHARACTERS = 200;

const TABLE = "M2.5 3.5h11v9h-11zM2.5 6.5h11M6.5 6.5v6";

export interface Variable {
  readonly name: string;
  readonly type: string;
  /** A length or a shape, or "". */
  readonly size: string;
  readonly value: string;
}

export interface VariableList {
  readonly variables: readonly Variable[];
  /** How many there are beside those. */
  readonly more: number;
}

function shortened(value: unknown): string {
  return textOf(value).slice(0, MAX_CHARACTERS);
}

/** Return the variables that a message lists, or `undefined` when it is another message. */
export function variablesOf(message: KernelMessage): VariableList | undefined {
  if (message.type !== "display_data" || !isObject(message.content.data)) return undefined;
  const told = message.content.data[MIME];
  if (!isObject(told) || !Array.isArray(told.variables)) return undefined;
  const variables = told.variables.filter(isObject).slice(0, MAX_SHOWN).map((variable) => ({
    name: shortened(variable.name),
    type: shortened(variable.type),
    size: shortened(variable.size),
    value: shortened(variable.value),
  }));
  return { variables, more: Math.max(0, Math.round(Number(told.more))) || 0 };
}

export class VariablesPanel {
  readonly button: HTMLButtonElement;
  readonly element: HTMLElement;
  private fresh = false;

  constructor(
    private readonly texts: Strings,
    /** The panel was opened (true) or closed. */
    private readonly toggled: (open: boolean) => void,
  ) {
    this.element = make("div", "ca-aid ca-variables", { role: "group", "aria-label": texts.variables, hidden: "" });
    this.button = make(
      "button",
      "ca-button ca-quiet ca-variables-button",
      { type: "button", "aria-expanded": "false", "aria-label": texts.variables, title: texts.variables },
      icon(TABLE),
    );
    this.button.addEventListener("click", () => {
      this.element.hidden = !this.element.hidden;
      this.button.setAttribute("aria-expanded", String(this.open));
      if (this.open) this.say(this.texts.variablesLater);
      this.toggled(this.open);
    });
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  /** An evaluation begins: what is shown is that of the one before. */
  begin(): void {
    this.fresh = false;
  }

  /** It ended; a kernel that told of no variables does not know them, or is gone. */
  ended(): void {
    if (this.open && !this.fresh) this.say(this.texts.variablesLater);
  }

  show({ variables, more }: VariableList): void {
    const { texts } = this;
    this.fresh = true;
    if (variables.length === 0) {
      this.say(texts.noVariables);
      return;
    }
    const head = make("tr", "", {}, ...texts.variableColumns.map((title) => make("th", "", { scope: "col" }, title)));
    const rows = variables.map(({ name, type, size, value }) =>
      make(
        "tr",
        "",
        {},
        make("th", "", { scope: "row" }, name),
        make("td", "", {}, type),
        make("td", "", {}, size),
        make("td", "ca-variable-value", {}, value),
      ),
    );
    const caption = make("caption", "ca-visually-hidden", {}, texts.variables);
    const table = make("table", "", { dir: "ltr" }, caption, make("thead", "", {}, head), make("tbody", "", {}, ...rows));
    const parts = [make("div", "ca-table", { role: "group", tabindex: "0", "aria-label": texts.variables }, table)];
    if (more > 0) parts.push(make("p", "ca-muted", {}, texts.variablesMore(more)));
    this.element.replaceChildren(...parts);
  }

  private say(text: string): void {
    this.element.replaceChildren(make("p", "ca-muted", {}, text));
  }
}
