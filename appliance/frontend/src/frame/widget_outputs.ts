/**
 * Output, and where it belongs: into the cell's output, or into an `Output` widget.
 *
 * Such a widget names the message whose answers it takes (`msg_id` in its state); the one that named it last comes
 * first. This is followed here, message by message in their order, whether or not the widgets themselves are loaded.
 */

import { isObject, textOf } from "../messages.js";
import type { CommItem, OutputItem } from "../output_items.js";
import { Outputs } from "./outputs.js";
import { widgets } from "./widget_messages.js";

/** `Output` widgets of one frame; more are empty. */
export const MAX_AREAS = 1_000;

interface Area {
  readonly element: HTMLElement;
  readonly outputs: Outputs;
  parent: string;
}

export class WidgetOutputs {
  private readonly main: Outputs;
  private readonly areas = new Map<string, Area>();
  /** Areas that take output, the last first asked. */
  private taking: Area[] = [];

  constructor(
    container: HTMLElement,
    private readonly base: string,
    private readonly changed: () => void,
  ) {
    this.main = new Outputs(container, base, changed);
  }

  /** Show items after `dropped` characters that were left out. */
  show(items: readonly OutputItem[], dropped: number): void {
    for (const item of items) {
      if (item.kind === "comm") {
        this.follow(item);
        widgets.receive(item);
      } else if (item.kind === "update") {
        // its display may stand anywhere, whoever takes the output now
        for (const outputs of [this.main, ...Array.from(this.areas.values(), (area) => area.outputs)]) outputs.show([item], 0);
      } else {
        this.target(item.parent).show([item], 0);
      }
    }
    if (dropped > 0) this.main.show([], dropped);
  }

  /** Return the element that holds the output of a widget. */
  element(id: string): HTMLElement | undefined {
    return this.areas.get(id)?.element;
  }

  private target(parent: string | undefined): Outputs {
    if (parent === undefined) return this.main;
    return this.taking.filter((area) => area.parent === parent).at(-1)?.outputs ?? this.main;
  }

  private follow({ type, content }: CommItem): void {
    const id = textOf(content.comm_id);
    const state = isObject(content.data) && isObject(content.data.state) ? content.data.state : {};
    if (type === "comm_open" && state._model_name === "OutputModel" && this.areas.size < MAX_AREAS) {
      const element = document.createElement("div");
      element.className = "widget-output";
      this.areas.set(id, { element, outputs: new Outputs(element, this.base, this.changed), parent: "" });
    }
    const area = this.areas.get(id);
    if (!area) return;
    if (type === "comm_close") {
      this.areas.delete(id);
      this.taking = this.taking.filter((other) => other !== area);
    } else {
      if (typeof state.msg_id === "string") this.take(area, state.msg_id);
      if (Array.isArray(state.outputs)) this.fill(area, state.outputs);
    }
  }

  private take(area: Area, parent: string): void {
    area.parent = parent;
    this.taking = this.taking.filter((other) => other !== area);
    if (parent !== "") this.taking.push(area);
  }

  /** The program set the output itself, as a list of outputs in the form of notebooks (nbformat, "Code cells"). */
  private fill(area: Area, outputs: readonly unknown[]): void {
    area.outputs.show([{ kind: "clear", wait: false }], 0);
    for (const output of outputs) {
      const item = isObject(output) ? itemOf(output) : undefined;
      if (item) area.outputs.show([item], 0);
    }
  }
}

function itemOf(output: Record<string, unknown>): OutputItem | undefined {
  const data = isObject(output.data) ? output.data : {};
  const metadata = isObject(output.metadata) ? output.metadata : {};
  switch (output.output_type) {
    case "stream":
      return { kind: "stream", name: output.name === "stderr" ? "stderr" : "stdout", text: textOf(output.text) };
    case "display_data":
    case "execute_result":
      return { kind: "display", data, metadata, displayId: "" };
    case "error": {
      const traceback = Array.isArray(output.traceback) ? output.traceback.map(textOf).join("\n") : "";
      return { kind: "error", text: traceback || `${textOf(output.ename)}: ${textOf(output.evalue)}` };
    }
    default:
      return undefined;
  }
}
