/** The files that a program left: told by its kernel, saved by the visitor. */

import { make } from "./dom.js";
import { isObject, textOf } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import { ServerError, unreachable } from "./server.js";
import { told } from "./strings/catalogue.js";
import type { Strings } from "./strings/catalogue.js";
import { zipOf } from "./zip.js";

const MIME = "application/vnd.cell-appliance.files+json";

/** Files that are listed. */
const MAX_LISTED = 100;

const MAX_NAME_CHARACTERS = 200;

export interface SessionFile {
  /** Its path below the program's home, cleaned to be shown. */
  readonly name: string;
  /** The same as its kernel says it. */
  readonly path: string;
  readonly size: number;
  readonly type: string;
  /** What is in it; `undefined` when it was too large to be brought, and only its kernel has it. */
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
  const list = message.content.data[MIME];
  if (!isObject(list) || !Array.isArray(list.files)) return undefined;
  const files = list.files.filter(isObject).slice(0, MAX_LISTED).map((file): SessionFile => {
    const type = textOf(file.type);
    return {
      name: cleanName(textOf(file.name)),
      path: textOf(file.name),
      size: Math.max(0, Number(file.size)) || 0,
      type: /^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : "application/octet-stream",
      bytes: bytesOf(file.data),
    };
  });
  return { files, more: Math.max(0, Math.round(Number(list.more))) || 0 };
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

/** Save a file of a program under the last part of its name. */
function saveFile(name: string, part: BlobPart): void {
  save(name.split("/").at(-1) ?? name, new Blob([part], { type: "application/octet-stream" }));
}

/** Returns what is in a file that was not brought. Raises `ServerError`. */
export type Fetch = (path: string) => Promise<Blob>;

/** The list of files below the output. */
export class FilesPanel {
  readonly element: HTMLElement;

  constructor(private readonly texts: Strings) {
    this.element = make("section", "ca-files", { "aria-label": texts.files, hidden: "" });
  }

  /** List files; those that are not here are fetched when they are to be saved. */
  show({ files, more }: Listing, fetch: Fetch): void {
    const { texts } = this;
    const items = files.map((file) => {
      const { name, bytes } = file;
      const about = make("span", "ca-muted", {}, ` ${sizeText(file.size)} · ${file.type}`);
      const button = make("button", "ca-button ca-quiet", { type: "button", "aria-label": texts.saveFile(name) }, name);
      if (bytes) {
        button.addEventListener("click", () => {
          saveFile(name, bytes);
        });
        return make("li", "", {}, button, about);
      }
      const state = make("span", "ca-muted", { role: "status" }, ` · ${texts.withItsKernel}`);
      button.addEventListener("click", () => {
        button.disabled = true;
        void this.saveFetched(file, fetch, state).finally(() => {
          button.disabled = false;
        });
      });
      return make("li", "", {}, button, about, state);
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

  private async saveFetched({ name, path }: SessionFile, fetch: Fetch, state: HTMLElement): Promise<void> {
    const { texts } = this;
    const tell = (text: string, failed: boolean): void => {
      state.textContent = ` · ${text}`;
      state.classList.toggle("ca-failed", failed);
    };
    tell(texts.fileComing, false);
    try {
      saveFile(name, await fetch(path));
      tell(texts.withItsKernel, false);
    } catch (error) {
      const { code, message } = error instanceof ServerError ? error : unreachable();
      tell(told(texts.errors, code, message), true);
    }
  }

  clear(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}
