/** The files that a program left: told by its kernel, saved by the visitor. */

import { make } from "./dom.js";
import { isObject, textOf } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";
import { zipOf } from "./zip.js";

const MIME = "application/vnd.cell-appliance.files+json";

/** Files that are listed. */
const MAX_LISTED = 100;

const MAX_NAME_CHARACTERS = 200;

export interface SessionFile {
  /** Its path below the program's home. */
  readonly name: string;
  readonly size: number;
  readonly type: string;
  /** What is in it; `undefined` when it was too large to be brought. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
}

export interface Listing {
  readonly files: readonly SessionFile[];
  /** How many there are beside those. */
  readonly more: number;
}

/** Return a path without what leads elsewhere, reads from right to left or breaks a line. */
function cleanName(name: string): string {
  const parts = name.split("/").map((part) => part.replace(/[^\p{L}\p{N} ._()-]/gu, "").replace(/^[. ]+/, ""));
  return parts.filter((part) => part !== "").join("/").slice(0, MAX_NAME_CHARACTERS) || "file";
}

function bytesOf(text: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof text !== "string") return undefined;
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Return the files that a message tells of, or `undefined` when it is another message. */
export function filesOf(message: KernelMessage): Listing | undefined {
  if (message.type !== "display_data" || !isObject(message.content.data)) return undefined;
  const told = message.content.data[MIME];
  if (!isObject(told) || !Array.isArray(told.files)) return undefined;
  const files = told.files.filter(isObject).slice(0, MAX_LISTED).map((file): SessionFile => {
    const type = textOf(file.type);
    return {
      name: cleanName(textOf(file.name)),
      size: Math.max(0, Number(file.size)) || 0,
      type: /^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : "application/octet-stream",
      bytes: bytesOf(file.data),
    };
  });
  return { files, more: Math.max(0, Math.round(Number(told.more))) || 0 };
}

/** Return a size as people say it: "40 kB". */
export function sizeText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1_000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** Have the browser save a file. As a type that is only ever saved: what is in it came from a kernel. */
export function save(name: string, content: Blob): void {
  const address = URL.createObjectURL(content);
  const link = make("a", "", { href: address, download: name });
  link.click();
  URL.revokeObjectURL(address);
}

/** The list of files below the output. */
export class FilesPanel {
  readonly element: HTMLElement;

  constructor(private readonly texts: Strings) {
    this.element = make("section", "ca-files", { "aria-label": texts.files, hidden: "" });
  }

  show({ files, more }: Listing): void {
    const { texts } = this;
    const items = files.map((file) => {
      const { name, bytes } = file;
      const about = make("span", "ca-muted", {}, ` ${sizeText(file.size)} · ${file.type}`);
      if (!bytes) return make("li", "", {}, name, about, make("span", "ca-muted", {}, ` · ${texts.tooLargeToBring}`));
      const button = make("button", "ca-button ca-quiet", { type: "button", "aria-label": texts.saveFile(name) }, name);
      button.addEventListener("click", () => {
        save(name.split("/").at(-1) ?? name, new Blob([bytes], { type: "application/octet-stream" }));
      });
      return make("li", "", {}, button, about);
    });
    if (more > 0) items.push(make("li", "ca-muted", {}, texts.moreFiles(more)));
    this.element.replaceChildren(make("p", "ca-caption", {}, texts.filesOfEvaluation), make("ul", "", {}, ...items));
    const saved = files.flatMap(({ name, bytes }) => (bytes ? [{ name, bytes }] : []));
    if (saved.length > 1) {
      const all = make("button", "ca-button", { type: "button" }, texts.saveAll);
      all.addEventListener("click", () => {
        save("files.zip", zipOf(saved));
      });
      this.element.append(all);
    }
    this.element.hidden = false;
  }

  clear(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}
