/** What a permalink holds of interacts: the values of their controls, heard from what the kernel says to the page. */

import { isObject, textOf } from "./messages.js";
import type { Json } from "./messages.js";
import type { CommItem } from "./output_items.js";

/** One interact, in SageMathCell's form. Its place in a list is its place in the program. */
export interface SavedInteract {
  readonly state: Json;
  readonly bookmarks: readonly { readonly name: string; readonly state: Json }[];
}

/** Interacts and bookmarks of one cell that are remembered. */
const MAX_SAVED = 100;

/** Largest state that is shared, in characters of its JSON; of more, none is. */
export const MAX_SAVED_CHARACTERS = 50_000;

/** Return the interacts in a value of a page or of a permalink: a list, or one as JSON. What is none is left out. */
export function savedIn(value: unknown): SavedInteract[] {
  let list = value;
  // The page at `/` holds the text of a permalink as a JSON string: JSON within JSON.
  for (let depth = 0; depth < 2 && typeof list === "string"; depth += 1) {
    try {
      list = JSON.parse(list);
    } catch {
      return [];
    }
  }
  if (!Array.isArray(list)) return [];
  return list.slice(0, MAX_SAVED).map((entry: unknown) => {
    const saved = isObject(entry) ? entry : {};
    const bookmarks = Array.isArray(saved.bookmarks) ? saved.bookmarks.filter(isObject).slice(0, MAX_SAVED) : [];
    return {
      state: isObject(saved.state) ? saved.state : {},
      bookmarks: bookmarks.map(({ name, state }) => ({ name: textOf(name), state: isObject(state) ? state : {} })),
    };
  });
}

/** Return the messages' widget state, if it belongs to an interact. */
function interactIn(content: Json): Json | undefined {
  const data = isObject(content.data) ? content.data : {};
  const state = isObject(data.state) ? data.state : {};
  return isObject(state.interact) ? state.interact : undefined;
}

/** Follows the interacts of one output, in the order in which the program made them. */
export class InteractStates {
  private readonly known = new Map<string, Json>();

  hear({ type, content }: CommItem): void {
    const id = textOf(content.comm_id);
    if (type === "comm_close") {
      this.known.delete(id);
      return;
    }
    const interact = interactIn(content);
    if (interact && (this.known.has(id) || this.known.size < MAX_SAVED)) this.known.set(id, interact);
  }

  /** What a permalink holds: of interacts that stand in no other. */
  get saved(): SavedInteract[] {
    const outer = [...this.known.values()].filter((interact) => interact.inner !== true);
    const saved = savedIn(outer);
    return JSON.stringify(saved).length > MAX_SAVED_CHARACTERS ? [] : saved;
  }
}
