/** All output of one evaluation, in order, within limits that keep the tab alive. */

import { sizeOf } from "../output_items.js";
import type { OutputItem } from "../output_items.js";
import { fill } from "./rich.js";
import { TerminalBlock } from "./terminal.js";

/** Characters of text shown. */
export const MAX_TEXT_CHARACTERS = 1_000_000;
/** Characters of rich output shown; pictures are base64. */
export const MAX_RICH_CHARACTERS = 64_000_000;
/** Blocks shown: runs of one stream, pictures, values. */
export const MAX_BLOCKS = 1_000;
/** Elements and text runs shown, HTML output and coloured text included. */
export const MAX_NODES = 50_000;

const numbers = new Intl.NumberFormat("en");

export class Outputs {
  private readonly notice = document.createElement("p");
  private readonly displays = new Map<string, HTMLElement[]>();
  private stream: { name: string; block: TerminalBlock; nodes: number } | undefined;
  private clearing = false;
  private text = 0;
  private rich = 0;
  private nodes = 0;
  private blocks = 0;
  private dropped = 0;

  constructor(
    private readonly container: HTMLElement,
    private readonly base: string,
    /** Called when the content may have changed its height after `show` returned. */
    private readonly changed: () => void,
  ) {
    this.notice.className = "notice";
  }

  /** Show items after `dropped` characters that were left out. */
  show(items: readonly OutputItem[], dropped: number): void {
    for (const item of items) this.apply(item);
    this.dropped += dropped;
    if (this.dropped > 0) {
      this.notice.textContent = `This output is longer than a page can show: about ${numbers.format(this.dropped)} characters were left out.`;
      this.container.append(this.notice);
    }
  }

  private apply(item: OutputItem): void {
    if (item.kind === "clear") {
      this.clearing = item.wait;
      if (!item.wait) this.clear();
      return;
    }
    if (item.kind === "comm") return;
    if (item.kind === "update") {
      for (const block of this.displays.get(item.displayId) ?? []) this.fill(block, item);
      return;
    }
    if (this.clearing) this.clear();
    if (this.full(item)) {
      this.dropped += sizeOf(item);
      return;
    }
    if (item.kind === "stream") {
      this.write(item.name, item.text);
    } else if (item.kind === "error") {
      this.write("error", item.text);
      this.stream = undefined;
    } else {
      this.display(item);
    }
  }

  private full(item: OutputItem): boolean {
    const continues = item.kind === "stream" && this.stream?.name === item.name;
    if (this.nodes > MAX_NODES || (!continues && this.blocks >= MAX_BLOCKS)) return true;
    // A traceback says why the output ends here: it is shown even after too much text.
    if (item.kind === "error") return false;
    return item.kind === "stream" ? this.text >= MAX_TEXT_CHARACTERS : this.rich + sizeOf(item) > MAX_RICH_CHARACTERS;
  }

  private write(name: "stdout" | "stderr" | "error", text: string): void {
    const shown = name === "error" ? text.slice(0, MAX_TEXT_CHARACTERS) : text.slice(0, MAX_TEXT_CHARACTERS - this.text);
    this.text += shown.length;
    this.dropped += text.length - shown.length;
    let stream = this.stream;
    if (stream?.name !== name) {
      stream = { name, block: new TerminalBlock(`output ${name}`), nodes: 0 };
      this.append(stream.block.element);
      this.stream = stream;
    }
    const nodes = stream.block.write(shown);
    this.nodes += nodes - stream.nodes;
    stream.nodes = nodes;
  }

  private display(item: OutputItem & { kind: "display" }): void {
    this.stream = undefined;
    this.rich += sizeOf(item);
    const block = document.createElement("div");
    block.className = "output display";
    if (item.displayId !== "") {
      const same = this.displays.get(item.displayId);
      if (same) same.push(block);
      else this.displays.set(item.displayId, [block]);
    }
    this.append(block);
    this.fill(block, item);
  }

  private fill(block: HTMLElement, item: OutputItem & { kind: "display" | "update" }): void {
    const before = block.getElementsByTagName("*").length;
    fill(block, item.data, item.metadata, this.base)
      .catch((error: unknown) => {
        block.textContent = `This output could not be shown: ${String(error)}`;
      })
      .finally(this.changed);
    this.nodes += block.getElementsByTagName("*").length - before;
  }

  private append(element: HTMLElement): void {
    this.blocks += 1;
    this.container.append(element);
  }

  private clear(): void {
    this.container.textContent = "";
    this.displays.clear();
    this.stream = undefined;
    this.clearing = false;
    this.text = 0;
    this.rich = 0;
    this.nodes = 0;
    this.blocks = 0;
    this.dropped = 0;
  }
}
