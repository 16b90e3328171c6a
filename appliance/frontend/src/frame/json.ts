/** JSON as a tree whose branches open and close. */

/** Values shown; of a larger document the rest is said to be there. */
const MAX_VALUES = 2_000;

/** Levels that are open at first. */
const OPEN_LEVELS = 2;

/** Characters of one string. */
const MAX_CHARACTERS = 10_000;

class Tree {
  private left = MAX_VALUES;

  element(value: unknown, name: string | undefined, level: number): HTMLElement {
    this.left -= 1;
    if (typeof value !== "object" || value === null) return leaf(value, name);
    const entries = Object.entries(value);
    const details = document.createElement("details");
    details.className = "json";
    details.open = level < OPEN_LEVELS;
    const summary = document.createElement("summary");
    if (name !== undefined) summary.append(label(name));
    summary.append(Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`);
    details.append(summary);
    for (const [key, item] of entries) {
      if (this.left <= 0) {
        details.append(line("…"));
        break;
      }
      details.append(this.element(item, key, level + 1));
    }
    return details;
  }
}

function line(...children: (Node | string)[]): HTMLElement {
  const element = document.createElement("div");
  element.className = "json-leaf";
  element.append(...children);
  return element;
}

function leaf(value: unknown, name: string | undefined): HTMLElement {
  const text = document.createElement("span");
  text.className = `json-${value === null ? "null" : typeof value}`;
  text.textContent = JSON.stringify(value).slice(0, MAX_CHARACTERS);
  return name === undefined ? line(text) : line(label(name), text);
}

function label(name: string): HTMLElement {
  const element = document.createElement("span");
  element.className = "json-key";
  element.textContent = `${name}: `;
  return element;
}

/** Return a value as a tree. */
export function jsonTree(value: unknown): HTMLElement {
  return new Tree().element(value, undefined, 0);
}
