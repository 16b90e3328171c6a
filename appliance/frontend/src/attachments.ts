/** The files that visitors bring to their programs: kept by the page, handed to each kernel before it runs the code. */

import { ServerError, failureOf, filePath, unreachable } from "./server.js";
import type { Server } from "./server.js";

/** Files of one cell, or of cells that share a kernel. */
export const MAX_FILES = 100;

/** A kernel that files are brought to. */
export interface Destination {
  readonly id: string;
}

/** A file and the path under which programs find it. */
export interface NamedFile {
  readonly name: string;
  readonly file: Blob;
}

export type Progress =
  | { readonly state: "waiting" }
  | { readonly state: "coming"; readonly percent: number }
  | { readonly state: "there" }
  /** `final`: trying again would change nothing. */
  | { readonly state: "failed"; readonly error: ServerError; readonly final: boolean };

export interface Attachment extends NamedFile {
  progress: Progress;
}

/** Why a file is not taken, if it is not: told by the page, which knows the limits. */
export type Objection = (file: NamedFile, others: readonly NamedFile[]) => ServerError | undefined;

/** Send a file to a kernel; `progress` is told percents. Raises `ServerError`. */
export function bring(server: Server, kernel: string, { name, file }: NamedFile, progress: (percent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    // fetch() does not tell how much has gone
    const request = new XMLHttpRequest();
    request.open("PUT", server.root + filePath(kernel, name));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => {
      progress(event.total > 0 ? Math.floor((100 * event.loaded) / event.total) : 0);
    });
    request.addEventListener("load", () => {
      const { status } = request;
      if (status >= 200 && status < 300) resolve();
      else reject(failureOf(status, request.responseText, request.getResponseHeader("Retry-After")));
    });
    request.addEventListener("error", () => {
      reject(unreachable());
    });
    request.send(file);
  });
}

export type Bring = typeof bring;

/** The files, and which kernel has them. */
export class Attachments {
  private files: readonly Attachment[] = [];
  private kernel: Destination | undefined;
  private readonly watchers = new Set<() => void>();
  private under: Promise<void> = Promise.resolve();

  constructor(
    private readonly server: Server,
    private readonly send: Bring = bring,
  ) {}

  get list(): readonly Attachment[] {
    return this.files;
  }

  /** Whether there is something that a fresh kernel lacks. */
  get some(): boolean {
    return this.files.some(wanted);
  }

  /** Be told of changes. Returns what stops it. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => {
      this.watchers.delete(watcher);
    };
  }

  /** Take files in, each in the place of one of the same name. Returns how many there was no room for. */
  add(named: readonly NamedFile[], objection: Objection): number {
    let left = 0;
    for (const one of named) {
      const others = this.files.filter(({ name }) => name !== one.name);
      if (others.length >= MAX_FILES) {
        left += 1;
        continue;
      }
      const error = objection(one, others.filter(wanted));
      this.files = [...others, { ...one, progress: error ? { state: "failed", error, final: true } : { state: "waiting" } }];
    }
    this.changed();
    return left;
  }

  /** Forget a file; the kernel that has it keeps it. */
  remove(file: Attachment): void {
    this.files = this.files.filter((one) => one !== file);
    this.changed();
  }

  /** Bring a kernel what it lacks, one file after the other, while `go()`. Raises the first `ServerError` when all were tried. */
  bringTo(kernel: Destination, go: () => boolean = () => true): Promise<void> {
    const next = this.under.then(() => this.bringNow(kernel, go));
    this.under = next.catch(() => undefined);
    return next;
  }

  private async bringNow(kernel: Destination, go: () => boolean): Promise<void> {
    if (this.kernel !== kernel) {
      this.kernel = kernel;
      for (const file of this.files) if (wanted(file)) file.progress = { state: "waiting" };
    }
    let failure: ServerError | undefined;
    for (const file of this.files.filter((one) => wanted(one) && one.progress.state !== "there")) {
      if (!go() || !this.files.includes(file)) continue;
      try {
        this.note(file, { state: "coming", percent: 0 });
        await this.send(this.server, kernel.id, file, (percent) => {
          this.note(file, { state: "coming", percent });
        });
        this.note(file, { state: "there" });
      } catch (reason) {
        const error = reason instanceof ServerError ? reason : unreachable();
        this.note(file, { state: "failed", error, final: false });
        failure ??= error;
      }
    }
    if (failure) throw failure;
  }

  private note(file: Attachment, progress: Progress): void {
    file.progress = progress;
    this.changed();
  }

  private changed(): void {
    for (const watcher of this.watchers) watcher();
  }
}

/** Whether a file is to be brought to kernels at all. */
function wanted({ progress }: Attachment): boolean {
  return progress.state !== "failed" || !progress.final;
}
