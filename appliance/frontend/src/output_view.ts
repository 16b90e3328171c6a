/**
 * The page's side of the output frame (T7).
 *
 * Every evaluation gets a frame of its own, so that scripts of earlier output are gone with it. The old frame stays in
 * sight until the new one has something to show: re-evaluation does not flicker.
 */

import type { Ending, Kernel, Listener } from "./kernel.js";
import { InteractStates } from "./interacts.js";
import type { SavedInteract } from "./interacts.js";
import { commOf, fileOf, outputOf, reportOf } from "./output_items.js";
import type { CommReport, OfferedFile, OutputItem } from "./output_items.js";
import { OutputQueue } from "./output_queue.js";

/** Tallest frame, in CSS pixels; longer output scrolls inside. */
export const MAX_FRAME_HEIGHT = 640;

/** Tallest frame on paper: about ten pages. */
const MAX_PRINTED_HEIGHT = 10_000;

/** How long the old frame covers the new one, which may need a moment for its first paint. */
const COVER_MILLISECONDS = 80;

/** How long a document that has loaded may take to say that it is ready, before it is loaded for the second, the third, … time. */
const RELOAD_MILLISECONDS: readonly number[] = [1_000, 2_000, 4_000];

/** One sandboxed frame and the output that waits for it. */
class OutputFrame {
  readonly element: HTMLIFrameElement;
  readonly interacts = new InteractStates();
  private readonly queue = new OutputQueue();
  private ready = false;
  private busy = false;
  private loads = 0;
  private reloads = 0;
  private late: ReturnType<typeof setTimeout> | undefined;
  /** Height of the content, which may scroll inside. */
  private full = 0;
  private kernel: Kernel | undefined;
  private request = "";
  private unfollow: () => void = () => undefined;
  private hasWidgets = false;

  constructor(
    private readonly address: string,
    label: string,
    private readonly on: { shown: () => void; gone: () => void; unloaded: () => void; offered: (file: OfferedFile) => void },
  ) {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts");
    frame.referrerPolicy = "no-referrer";
    frame.title = label;
    frame.className = "ca-frame ca-frame-next";
    frame.src = address;
    frame.addEventListener("load", () => {
      this.loads += 1;
      // A second document in the frame is not ours, whoever put it there: it must not receive output.
      if (this.loads > 1) this.on.gone();
      else if (!this.ready) this.waitForReady();
    });
    window.addEventListener("message", this.receive);
    window.addEventListener("beforeprint", this.unroll);
    window.addEventListener("afterprint", this.fit);
    this.element = frame;
  }

  get used(): boolean {
    return this.busy || !this.queue.empty;
  }

  /** Whether what has loaded is not, or not yet, the document that shows output. */
  get stuck(): boolean {
    return this.loads > 0 && !this.ready;
  }

  /** A browser does not tell whether it loaded our document or the page of an error. */
  private waitForReady(): void {
    const milliseconds = RELOAD_MILLISECONDS[this.reloads];
    if (milliseconds === undefined) {
      this.on.unloaded();
      return;
    }
    this.late = setTimeout(() => {
      this.reloads += 1;
      this.loads = 0;
      this.element.src = this.address;
    }, milliseconds);
  }

  push(item: OutputItem): void {
    if (item.kind === "comm") {
      if (item.type === "comm_open") this.hasWidgets = true;
      this.interacts.hear(item);
    }
    this.queue.push(item);
    this.send();
  }

  /** Whether something has been shown, which a program without output never does. */
  get seen(): boolean {
    return !this.element.classList.contains("ca-frame-next");
  }

  /** Let widgets in this frame speak to a kernel that has `request`; `ended` hears its end, and whether widgets are there. */
  connect(kernel: Kernel, request: string, ended: (ending: Ending, widgets: boolean) => void): void {
    this.kernel = kernel;
    this.request = request;
    kernel.watch((ending) => {
      const widgets = this.hasWidgets && this.element.isConnected;
      if (widgets) this.element.classList.add("ca-frame-detached");
      ended(ending, widgets);
    });
  }

  /** The evaluation is over. What its kernel says of it from now on is shown until the frame goes. */
  follow(): void {
    this.unfollow();
    if (this.kernel) this.unfollow = this.kernel.follow(this.request, this.listener);
  }

  /** What answers a widget's message is shown here as well, and the widget hears that its message was handled. */
  private tell(report: CommReport): void {
    this.kernel?.comm(report, this.listener);
  }

  private readonly listener: Listener = {
    message: (message) => {
      const item = outputOf(message);
      if (item) this.push(item);
    },
    ended: () => undefined,
  };

  remove(): void {
    clearTimeout(this.late);
    this.unfollow();
    window.removeEventListener("message", this.receive);
    window.removeEventListener("beforeprint", this.unroll);
    window.removeEventListener("afterprint", this.fit);
    this.element.remove();
  }

  private readonly receive = (event: MessageEvent<unknown>): void => {
    if (event.source === null || event.source !== this.element.contentWindow) return;
    const comm = commOf(event.data);
    if (comm) {
      this.tell(comm);
      return;
    }
    const report = reportOf(event.data);
    if (!report) {
      const file = fileOf(event.data);
      if (file) this.on.offered(file);
      return;
    }
    this.full = Math.ceil(report.height);
    this.fit();
    this.element.classList.toggle("ca-frame-empty", this.full === 0);
    if (report.type === "ready") {
      this.ready = true;
      clearTimeout(this.late);
    } else if (report.type === "shown") {
      this.busy = false;
      this.on.shown();
    }
    this.send();
  };

  private readonly fit = (): void => {
    this.element.style.setProperty("height", `${Math.min(this.full, MAX_FRAME_HEIGHT)}px`);
  };

  /** Paper does not scroll. */
  private readonly unroll = (): void => {
    this.element.style.setProperty("height", `${Math.min(this.full, MAX_PRINTED_HEIGHT)}px`);
  };

  /** One batch at a time: the next goes when the frame has shown the last, however fast the kernel prints. */
  private send(): void {
    if (!this.ready || this.busy || this.queue.empty) return;
    this.busy = true;
    this.element.contentWindow?.postMessage(this.queue.take(), "*");
  }
}

/** Takes the frame away that a cell of this page has ahead of time. */
let takeAhead = (): void => undefined;

export class OutputView {
  private current: OutputFrame | undefined;
  private next: OutputFrame | undefined;
  private ahead: OutputFrame | undefined;

  constructor(
    private readonly container: HTMLElement,
    private readonly address: string,
    private readonly label: string,
    private readonly on: {
      /** A frame was removed because it had navigated away. */
      gone: () => void;
      /** The document that shows output could not be loaded. */
      unloaded: () => void;
      /** The visitor follows a link to a file in the output. */
      offered: (file: OfferedFile) => void;
      /** Output of the evaluation is in sight. */
      shown: () => void;
    },
  ) {}

  /** Have the frame of the next evaluation there before it starts. A page has one such frame, where its visitor was last. */
  prepare(): void {
    if (this.ahead || this.next) return;
    takeAhead();
    takeAhead = () => {
      this.unprepare();
    };
    this.ahead = this.make();
    this.ahead.element.classList.add("ca-frame-ahead");
  }

  private unprepare(): void {
    this.ahead?.remove();
    this.ahead = undefined;
  }

  /** A new evaluation starts. */
  begin(): void {
    this.next?.remove();
    if (this.ahead?.stuck) this.unprepare();
    this.next = this.ahead ?? this.make();
    this.next.element.classList.remove("ca-frame-ahead");
    this.ahead = undefined;
  }

  private make(): OutputFrame {
    const frame = new OutputFrame(this.address, this.label, {
      shown: () => {
        this.show(frame);
      },
      gone: () => {
        this.drop(frame);
      },
      unloaded: () => {
        if (frame === this.ahead) this.unprepare();
        else this.on.unloaded();
      },
      offered: this.on.offered,
    });
    this.container.append(frame.element);
    return frame;
  }

  push(item: OutputItem): void {
    (this.next ?? this.current)?.push(item);
  }

  /** The interacts in the output, with the values that their controls have now. */
  get savedInteracts(): SavedInteract[] {
    return (this.next ?? this.current)?.interacts.saved ?? [];
  }

  /** The evaluation shows something of its own beside its output: the output before it goes now. */
  replace(): void {
    if (!this.next) return;
    this.current?.remove();
    this.current = undefined;
  }

  /** Let widgets of the evaluation that began last speak to its kernel, which has it as `request`. */
  connect(kernel: Kernel, request: string, lost: (ending: Ending) => void): void {
    const frame = this.next ?? this.current;
    frame?.connect(kernel, request, (ending, widgets) => {
      if (frame !== this.current) return;
      if (widgets) {
        lost(ending);
      } else if (!frame.seen && !frame.used) {
        frame.remove();
        this.current = undefined;
      }
    });
  }

  /** The evaluation is over: where it showed nothing, the output before it goes now. While its kernel lives, something may come. */
  end(): void {
    (this.next ?? this.current)?.follow();
    if (!this.next || this.next.used) return;
    this.current?.remove();
    this.current = this.next;
    this.next = undefined;
  }

  /** The evaluation never began: the output before it stays. */
  cancel(): void {
    this.next?.remove();
    this.next = undefined;
  }

  /** Remove all output. */
  clear(): void {
    this.unprepare();
    this.next?.remove();
    this.current?.remove();
    this.next = undefined;
    this.current = undefined;
  }

  private show(frame: OutputFrame): void {
    if ((frame !== this.next && frame !== this.current) || frame.seen) return;
    const old = frame === this.next ? this.current : undefined;
    if (frame === this.next) {
      this.current = frame;
      this.next = undefined;
    }
    frame.element.classList.remove("ca-frame-next");
    this.on.shown();
    if (!old) return;
    old.element.classList.add("ca-frame-last");
    setTimeout(() => {
      old.remove();
    }, COVER_MILLISECONDS);
  }

  private drop(frame: OutputFrame): void {
    frame.remove();
    if (frame === this.current) this.current = undefined;
    if (frame === this.next) this.next = undefined;
    if (frame === this.ahead) this.ahead = undefined;
    this.on.gone();
  }
}
