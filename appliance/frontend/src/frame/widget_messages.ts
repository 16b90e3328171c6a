/** What passes between the kernel and the widgets of this frame; the widgets are loaded with the first message. */

import { assetName } from "../assets.js";
import { randomId } from "../messages.js";
import type { Json } from "../messages.js";
import type { CommItem, CommReport, CommType } from "../output_items.js";
import type { Host, WidgetManager } from "./widgets.js";

/** Knows the element of each `Output` widget. */
export interface Areas {
  element(id: string): HTMLElement | undefined;
}

type Widgets = typeof import("./widgets.js");

const TARGET = "jupyter.widget";

/** Libraries of widgets whose front ends are bundles of their own, by the name that their widgets say. */
const LIBRARIES: Readonly<Record<string, string>> = { "jupyter-matplotlib": "matplotlib.js" };

class WidgetMessages {
  private base = "";
  private areas: Areas | undefined;
  private post: (report: CommReport) => void = () => undefined;
  private loading: Promise<WidgetManager> | undefined;
  /** Messages are handled one after the other: each may make models that the next one changes. */
  private last: Promise<unknown> = Promise.resolve();

  start(base: string, areas: Areas, post: (report: CommReport) => void): void {
    this.base = base;
    this.areas = areas;
    this.post = post;
  }

  receive(item: CommItem): void {
    if (item.type === "comm_open" ? item.content.target_name !== TARGET : !this.loading) return;
    const manager = this.load();
    this.last = this.last.then(async () => (await manager).receive(item)).catch((error: unknown) => {
      console.error("A message of a widget could not be handled.", error);
    });
  }

  /** Show a widget in `block`. */
  async display(block: HTMLElement, id: string): Promise<void> {
    if (!this.loading) {
      block.textContent = "This widget is not there: the program that made it has ended.";
      return;
    }
    const manager = await this.loading;
    await this.last;
    await manager.display(block, id);
  }

  private load(): Promise<WidgetManager> {
    this.loading ??= (async () => {
      const style = document.createElement("link");
      style.rel = "stylesheet";
      style.href = `${this.base}${assetName("widgets.css")}`;
      const styled = new Promise((resolve) => {
        style.addEventListener("load", resolve);
        style.addEventListener("error", resolve);
      });
      document.head.prepend(style);
      const [module] = await Promise.all([import(`${this.base}${assetName("widgets.js")}`) as Promise<Widgets>, styled]);
      return new module.WidgetManager(this.host());
    })();
    return this.loading;
  }

  private host(): Host {
    return {
      send: (message: CommType, content, buffers) => {
        const id = randomId();
        this.post({ type: "comm", id, message, content, buffers });
        return id;
      },
      outputElement: (id) => this.areas?.element(id),
      library: (module) => {
        const file = LIBRARIES[module];
        return file === undefined ? undefined : (import(`${this.base}${assetName(file)}`) as Promise<Json>);
      },
    };
  }
}

/** The widgets of this frame. */
export const widgets = new WidgetMessages();
