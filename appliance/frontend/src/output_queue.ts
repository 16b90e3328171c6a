/** Output on its way to the frame: merged while the frame is busy, and bounded whatever the kernel prints. */

import { sizeOf } from "./output_items.js";
import type { Batch, OutputItem } from "./output_items.js";

/** Text that may wait; a frame shows about as much in all. */
export const MAX_WAITING_CHARACTERS = 1_000_000;

/** Pictures and other rich output that may wait, in characters of their text form. */
export const MAX_WAITING_RICH_CHARACTERS = 32_000_000;

/** Messages of widgets that may wait; without one of them a widget shows something wrong. */
export const MAX_WAITING_COMMS = 20_000;

/** Items that may wait: a frame shows no more than this many blocks. */
export const MAX_WAITING_ITEMS = 1_000;

export class OutputQueue {
  private items: OutputItem[] = [];
  private text = 0;
  private rich = 0;
  private dropped = 0;
  private comms = 0;

  get empty(): boolean {
    return this.items.length === 0 && this.dropped === 0;
  }

  push(item: OutputItem): void {
    const last = this.items.at(-1);
    if (item.kind === "comm") {
      this.pushComm(item);
      return;
    }
    if (this.comms > 0 && item.kind === "clear") {
      // Widgets decide what a clear is for: what stands before it stays.
      this.items.push(item);
      return;
    }
    if (item.kind === "clear") {
      if (!item.wait) this.reset();
      if (!item.wait || last?.kind !== "clear") this.items.push(item);
      return;
    }
    // What stood before a clear is never seen once something follows it.
    if (last?.kind === "clear" && this.items.length > 1 && this.comms === 0) {
      this.reset();
      this.items.push(last);
    }
    if (item.kind === "stream" || item.kind === "error") this.pushText(item);
    else this.pushRich(item);
  }

  /** Return everything that waits, and forget it. */
  take(): Batch {
    const batch: Batch = { type: "batch", items: this.items, dropped: this.dropped };
    this.items = [];
    this.reset();
    return batch;
  }

  private pushText(item: OutputItem & { kind: "stream" | "error" }): void {
    const text = item.text.slice(0, MAX_WAITING_CHARACTERS - this.text);
    this.text += text.length;
    this.dropped += item.text.length - text.length;
    if (text === "") return;
    const last = this.items.at(-1);
    if (item.kind === "stream" && last?.kind === "stream" && last.name === item.name && last.parent === item.parent) {
      this.items[this.items.length - 1] = { ...last, text: last.text + text };
    } else {
      this.pushBounded({ ...item, text });
    }
  }

  private pushRich(item: OutputItem): void {
    const size = sizeOf(item);
    const before = item.kind === "update" ? this.waitingUpdate(item.displayId) : undefined;
    const freed = before ? sizeOf(before) : 0;
    if (this.rich - freed + size > MAX_WAITING_RICH_CHARACTERS) {
      this.dropped += size;
      return;
    }
    if (before) this.items.splice(this.items.indexOf(before), 1);
    this.rich += size - freed;
    this.pushBounded(item);
  }

  /** The update in whose place another one may come: nobody would see it. Between messages of widgets each has its place. */
  private waitingUpdate(displayId: string): OutputItem | undefined {
    return this.comms === 0 ? this.items.find((item) => item.kind === "update" && item.displayId === displayId) : undefined;
  }

  private pushComm(item: OutputItem): void {
    const size = sizeOf(item);
    if (this.comms >= MAX_WAITING_COMMS || this.rich + size > MAX_WAITING_RICH_CHARACTERS) {
      this.dropped += size;
      return;
    }
    this.comms += 1;
    this.rich += size;
    this.items.push(item);
  }

  private pushBounded(item: OutputItem): void {
    if (this.items.length - this.comms < MAX_WAITING_ITEMS) this.items.push(item);
    else this.dropped += sizeOf(item);
  }

  private reset(): void {
    this.items = [];
    this.text = 0;
    this.rich = 0;
    this.comms = 0;
    this.dropped = 0;
  }
}
