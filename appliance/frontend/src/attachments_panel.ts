/** Where a visitor adds files to a cell: a button, the cell as a place to drop them on, and the list of what is there. */

import { MAX_FILES } from "./attachments.js";
import type { Attachment, Attachments, NamedFile } from "./attachments.js";
import { icon, make } from "./dom.js";
import type { Kernel } from "./kernel.js";
import { ServerError } from "./server.js";
import type { Server, UploadLimits } from "./server.js";
import { sizeText } from "./session_files.js";
import { told } from "./strings/catalogue.js";
import type { Strings } from "./strings/catalogue.js";

const CLIP = "M12.5 7.5l-5 5a3 3 0 0 1-4.2-4.2l5.6-5.6a2 2 0 0 1 2.8 2.8l-5.5 5.5a1 1 0 0 1-1.4-1.4l4.9-4.9";
const CROSS = "M4 4l8 8M12 4l-8 8";

/** Folders within folders that are looked into when they are dropped. */
const MAX_DEPTH = 8;

/** Return a path without what leads elsewhere; parts that begin with a dot are the system's. */
export function attachedName(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
  return parts.join("/").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, "_") || "file";
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => {
    entry.file(resolve, reject);
  });
}

function childrenOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => {
    reader.readEntries(resolve, reject);
  });
}

async function collect(entry: FileSystemEntry, found: NamedFile[], depth: number): Promise<void> {
  if (found.length > MAX_FILES || depth > MAX_DEPTH || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    found.push({ name: attachedName(entry.fullPath), file: await fileOf(entry as FileSystemFileEntry) });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // a reader gives so many at a time, and none at the end
  for (let some = await childrenOf(reader); some.length > 0; some = await childrenOf(reader)) {
    for (const child of some) await collect(child, found, depth + 1);
  }
}

/** Return the files that were dropped, those in folders too. */
async function dropped(transfer: DataTransfer): Promise<NamedFile[]> {
  const found: NamedFile[] = [];
  // all at once, before the event is over
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ name: attachedName(file.name), file }));
  for (const entry of entries) await collect(entry, found, 0);
  return found;
}

export interface PanelEvents {
  /** The kernel that runs this cell's code, while there is one. */
  readonly kernel: () => Promise<Kernel | undefined>;
  readonly announce: (text: string) => void;
}

export class AttachmentsPanel {
  readonly button: HTMLButtonElement;
  readonly element: HTMLElement;
  private readonly chooser = make("input", "", { type: "file", multiple: "", hidden: "", tabindex: "-1", "aria-hidden": "true" });
  private readonly items = make("ul", "");
  private readonly rows = new Map<Attachment, { readonly row: HTMLElement; readonly state: HTMLElement }>();
  private readonly leave: () => void;

  constructor(
    private readonly attachments: Attachments,
    private readonly server: Server,
    private readonly texts: Strings,
    private readonly events: PanelEvents,
  ) {
    this.button = make("button", "ca-button ca-quiet ca-attach", { type: "button", "aria-label": texts.attach, title: texts.attachTitle }, icon(CLIP));
    this.element = make("div", "ca-attached", { role: "group", "aria-label": texts.attached, hidden: "" });
    this.element.append(make("p", "ca-caption", {}, texts.attached), this.items, this.chooser);
    this.button.addEventListener("click", () => {
      this.chooser.click();
    });
    this.chooser.addEventListener("change", () => {
      const chosen = [...(this.chooser.files ?? [])].map((file) => ({ name: attachedName(file.name), file }));
      this.chooser.value = "";
      void this.add(chosen);
    });
    this.leave = attachments.watch(() => {
      this.show();
    });
    this.show();
  }

  /** Take files that are dropped on an element, before the editor in it takes their text. */
  listen(place: HTMLElement): void {
    const holds = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") === true;
    const over = (event: DragEvent): void => {
      if (!holds(event) || this.button.hidden) return;
      event.preventDefault();
      event.stopPropagation();
      place.classList.add("ca-drop");
    };
    place.addEventListener("dragenter", over, true);
    place.addEventListener("dragover", over, true);
    place.addEventListener("dragleave", (event) => {
      if (!(event.relatedTarget instanceof Node) || !place.contains(event.relatedTarget)) place.classList.remove("ca-drop");
    });
    place.addEventListener(
      "drop",
      (event) => {
        place.classList.remove("ca-drop");
        if (!holds(event) || this.button.hidden || !event.dataTransfer) return;
        event.preventDefault();
        event.stopPropagation();
        void dropped(event.dataTransfer).then((files) => this.add(files));
      },
      true,
    );
  }

  /**
   * Return the kernel that `open` opens when it has the files, which are brought while `go()`. `open` is told whether the
   * code may go along at once. Raises `ServerError`.
   */
  async opened(open: (now: boolean) => Promise<Kernel>, go: () => boolean): Promise<Kernel> {
    if (!this.attachments.some) return open(true);
    const kernel = await open(false);
    await this.attachments.bringTo(kernel, go);
    return kernel;
  }

  /** Whether there are files for the next evaluation. */
  get some(): boolean {
    return this.attachments.some;
  }

  remove(): void {
    this.leave();
  }

  private async add(files: readonly NamedFile[]): Promise<void> {
    if (files.length === 0) return;
    const { texts } = this;
    const limits = await this.server.uploadLimits();
    const left = this.attachments.add(files, (file, others) => this.objection(file, others, limits));
    const names = files.map(({ name }) => name).join(", ");
    this.events.announce(left > 0 ? texts.tooManyAttached(MAX_FILES) : texts.attachedSaid(names));
    for (const { name, progress } of this.attachments.list) {
      if (progress.state === "failed" && files.some((file) => file.name === name)) this.events.announce(progress.error.message);
    }
    const kernel = await this.events.kernel();
    // what fails is shown where the file is
    if (kernel) await this.attachments.bringTo(kernel).catch(() => undefined);
  }

  private objection(file: NamedFile, others: readonly NamedFile[], limits: UploadLimits | undefined): ServerError | undefined {
    if (!limits) return undefined;
    if (limits.file === 0) return new ServerError(this.texts.noFilesTaken, 413);
    if (file.file.size > limits.file) return new ServerError(this.texts.fileTooLarge(sizeText(limits.file)), 413);
    const all = others.reduce((sum, other) => sum + other.file.size, file.file.size);
    return all > limits.kernel ? new ServerError(this.texts.filesTooLarge(sizeText(limits.kernel)), 413) : undefined;
  }

  private show(): void {
    const { list } = this.attachments;
    this.element.hidden = list.length === 0;
    for (const [file, { row }] of this.rows) {
      if (list.includes(file)) continue;
      row.remove();
      this.rows.delete(file);
    }
    for (const file of list) {
      const { state } = this.rows.get(file) ?? this.addRow(file);
      const text = this.stateText(file);
      if (state.textContent !== text) state.textContent = text;
      state.classList.toggle("ca-failed", file.progress.state === "failed");
    }
  }

  private stateText({ progress }: Attachment): string {
    switch (progress.state) {
      case "waiting":
        return this.texts.fileWaiting;
      case "coming":
        return `${progress.percent} %`;
      case "there":
        return this.texts.fileThere;
      case "failed":
        return told(this.texts.errors, progress.error.code, progress.error.message);
    }
  }

  private addRow(file: Attachment): { row: HTMLElement; state: HTMLElement } {
    const state = make("span", "ca-state");
    const drop = make("button", "ca-button ca-quiet ca-detach", { type: "button", "aria-label": this.texts.detach(file.name) }, icon(CROSS));
    drop.addEventListener("click", () => {
      this.attachments.remove(file);
      this.button.focus();
    });
    const about = make("span", "ca-muted", {}, ` ${sizeText(file.file.size)} · `, state);
    const row = make("li", "", {}, make("span", "ca-name", { dir: "auto" }, file.name), about, drop);
    this.items.append(row);
    const made = { row, state };
    this.rows.set(file, made);
    return made;
  }
}
