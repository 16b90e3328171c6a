/** What takes cells elsewhere: links, HTML, a notebook. Of linked cells, those that a cell's variables come from go along. */

import type { SavedInteract } from "./interacts.js";
import { notebookOf, snippetOf } from "./notebook.js";
import type { NotebookCell } from "./notebook.js";
import type { Server } from "./server.js";
import { save } from "./session_files.js";
import type { SharePanel } from "./share_panel.js";

/** A cell as others see it. */
export interface SharedCell extends NotebookCell {
  /** Where it is on the page. */
  readonly place: Node;
  readonly language: string;
  readonly interacts: readonly SavedInteract[];
}

/** Return a cell whose properties are those of the moment at which they are asked for; `place`: where it is on the page. */
export function sharedCell(place: Node, now: () => Omit<SharedCell, "place">): SharedCell {
  return {
    place,
    get code() {
      return now().code;
    },
    get language() {
      return now().language;
    },
    get outputs() {
      return now().outputs;
    },
    get interacts() {
      return now().interacts;
    },
  };
}

/** Return cells in the order in which they stand on their page. Shadow trees stand where their hosts do. */
export function inOrder<Cell extends { readonly place: Node }>(cells: readonly Cell[]): Cell[] {
  const hostOf = (node: Node): Node => {
    const root = node.getRootNode();
    return root instanceof ShadowRoot ? hostOf(root.host) : node;
  };
  return [...cells].sort((one, two) =>
    hostOf(one.place).compareDocumentPosition(hostOf(two.place)) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1,
  );
}

export class Sharing {
  /** `all`: this cell, and those linked with it, in their order. */
  constructor(
    private readonly server: Server,
    private readonly panel: SharePanel,
    private readonly own: SharedCell,
    private readonly all: () => readonly SharedCell[],
  ) {}

  /** Show links and HTML. Raises `ServerError`. */
  async show(): Promise<void> {
    const { own, server } = this;
    const cells = this.all();
    const needed = cells.slice(0, cells.indexOf(own) + 1).filter((cell) => cell === own || cell.code.trim() !== "");
    const code = needed.map((cell) => cell.code).join("\n\n");
    const permalink = await server.store(code, own.language, needed.length === 1 ? own.interacts : []);
    this.panel.show({ ...server.links(permalink, own.language), snippet: snippetOf(server.root, cells) });
  }

  /** Save programs and output. */
  download(): void {
    const notebook = notebookOf(this.all(), this.own.language);
    save("cell.ipynb", new Blob([notebook], { type: "application/octet-stream" }));
  }
}
