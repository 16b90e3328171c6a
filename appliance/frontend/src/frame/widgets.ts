/** Jupyter's widgets, in a bundle of its own: the manager that makes models and views of what the kernel says. */

import * as base from "@jupyter-widgets/base";
import { ManagerBase } from "@jupyter-widgets/base-manager";
import * as controls from "@jupyter-widgets/controls";
import { MessageLoop } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";

import { isObject, textOf } from "../messages.js";
import { AnyModel, AnyView } from "./any_widget.js";
import { fromBase64, toBase64 } from "./base64.js";
import type { Buffer } from "./base64.js";
import type { Json } from "../messages.js";
import type { CommItem, CommType } from "../output_items.js";

/** What the manager needs of the frame. */
export interface Host {
  /** Send a message to the kernel, with buffers in base64; returns its id. */
  send(message: CommType, content: Json, buffers: readonly string[]): string;
  /** Return the element that holds the output of an `Output` widget. */
  outputElement(id: string): HTMLElement | undefined;
  /** Load the widgets of a library that has a bundle of its own; `undefined` if there is none. */
  library(module: string): Promise<Json> | undefined;
}

/** Pause between two messages of one widget; what changes meanwhile goes with the next. */
const SEND_MILLISECONDS = 40;

type Handler = (message: unknown) => void;

/** The frame's end of a widget's line to the kernel. */
class Comm implements base.IClassicComm {
  readonly target_name = "jupyter.widget";
  private onMessage: Handler = () => undefined;
  private onClose: Handler = () => undefined;

  constructor(
    readonly comm_id: string,
    private readonly host: Host,
  ) {}

  open(data: unknown, callbacks?: base.ICallbacks, metadata?: unknown): string {
    return this.say("comm_open", { target_name: this.target_name, data, metadata }, callbacks);
  }

  send(data: unknown, callbacks?: base.ICallbacks, _metadata?: unknown, buffers?: readonly Buffer[]): string {
    return this.say("comm_msg", { data }, callbacks, buffers);
  }

  close(data?: unknown, callbacks?: base.ICallbacks): string {
    return this.say("comm_close", { data: data ?? {} }, callbacks);
  }

  on_msg(callback: Handler): void {
    this.onMessage = callback;
  }

  on_close(callback: Handler): void {
    this.onClose = callback;
  }

  receive(type: CommType, message: unknown): void {
    (type === "comm_close" ? this.onClose : this.onMessage)(message);
  }

  private say(type: CommType, content: Json, callbacks?: base.ICallbacks, buffers: readonly Buffer[] = []): string {
    const id = this.host.send(type, { ...content, comm_id: this.comm_id }, buffers.map(toBase64));
    // A widget waits for this before it sends again. The kernel would say it when the program has run; said earlier,
    // a newer value can overtake a run that is already stale.
    setTimeout(() => {
      const status = callbacks?.iopub?.status as Handler | undefined;
      status?.({ content: { execution_state: "idle" }, parent_header: { msg_id: id } });
    }, SEND_MILLISECONDS);
    return id;
  }
}

export class OutputModel extends base.DOMWidgetModel {
  override defaults(): Backbone.ObjectHash {
    return {
      ...super.defaults(),
      _model_name: "OutputModel",
      _model_module: "@jupyter-widgets/output",
      _model_module_version: "1.0.0",
      _view_name: "OutputView",
      _view_module: "@jupyter-widgets/output",
      _view_module_version: "1.0.0",
      msg_id: "",
      outputs: [],
    };
  }
}

export class OutputView extends base.DOMWidgetView {
  override render(): void {
    this.el.classList.add("jupyter-widgets", "jupyter-widget-output");
    const { host } = this.model.widget_manager as unknown as WidgetManager;
    const element = host.outputElement(this.model.model_id);
    if (element) this.el.append(element);
  }
}

/** What bundles of other libraries build on: they must have these very classes. */
export { DOMWidgetModel, DOMWidgetView, unpack_models } from "@jupyter-widgets/base";

const MODULES: Readonly<Record<string, Json>> = {
  "@jupyter-widgets/base": base,
  "@jupyter-widgets/controls": controls,
  "@jupyter-widgets/output": { OutputModel, OutputView },
  anywidget: { AnyModel, AnyView },
};

type WidgetClass = typeof base.WidgetModel | typeof base.WidgetView;
type OpenMessage = Parameters<ManagerBase["handle_comm_open"]>[1];

export class WidgetManager extends ManagerBase {
  private readonly comms = new Map<string, Comm>();
  /** Views that stand in a block of output. */
  private readonly shown = new Set<base.DOMWidgetView>();
  private readonly refuge = document.createElement("div");

  constructor(readonly host: Host) {
    super();
    this.refuge.hidden = true;
    document.body.append(this.refuge);
  }

  /** Handle a message of the kernel; resolves when the models are made that it opens. */
  async receive({ type, content, metadata, parent }: CommItem & { readonly parent?: string }): Promise<void> {
    const id = textOf(content.comm_id);
    const buffers = Array.isArray(metadata.buffers) ? metadata.buffers.map((text) => fromBase64(textOf(text))) : [];
    const message = { content, metadata, parent_header: { msg_id: parent ?? "" }, header: { msg_type: type }, buffers };
    if (type === "comm_open") {
      const comm = new Comm(id, this.host);
      this.comms.set(id, comm);
      await this.handle_comm_open(comm, message as unknown as OpenMessage);
      return;
    }
    if (type === "comm_close") this.rescue();
    this.comms.get(id)?.receive(type, message);
    if (type === "comm_close") this.comms.delete(id);
    // Changes of one model are applied in a chain of their own.
    if (this.has_model(id)) await (await this.get_model(id)).state_change;
  }

  /** Show a widget in `block`, which must be in the document. */
  async display(block: HTMLElement, id: string): Promise<void> {
    if (!this.has_model(id)) {
      block.textContent = "This widget is not there: the program closed it.";
      return;
    }
    const model = await this.get_model(id);
    if (!(model instanceof base.DOMWidgetModel)) {
      block.textContent = "This widget is nothing to look at.";
      return;
    }
    const view = await this.create_view(model);
    block.textContent = "";
    const widget = view.luminoWidget;
    MessageLoop.sendMessage(widget, Widget.Msg.BeforeAttach);
    block.append(view.el);
    MessageLoop.sendMessage(widget, Widget.Msg.AfterAttach);
    this.shown.add(view);
    view.on("remove", () => {
      this.shown.delete(view);
      view.el.remove();
    });
  }

  /** Lumino refuses to take apart what is not in the document, and output that was cleared is not. */
  private rescue(): void {
    for (const view of this.shown) {
      if (!view.el.isConnected) this.refuge.append(view.el);
    }
  }

  protected override async loadClass(name: string, module: string): Promise<WidgetClass> {
    const found = (MODULES[module] ?? (await this.host.library(module)))?.[name];
    if (found === undefined) throw new Error(`The widget ${name} of ${module} is not among those that this server has.`);
    return found as WidgetClass;
  }

  protected override _create_comm(target: string, id?: string, data?: unknown, metadata?: unknown): Promise<Comm> {
    const comm = new Comm(id ?? base.uuid(), this.host);
    this.comms.set(comm.comm_id, comm);
    if (target === comm.target_name && isObject(data)) comm.open(data, undefined, metadata);
    return Promise.resolve(comm);
  }

  protected override _get_comm_info(): Promise<Record<string, never>> {
    return Promise.resolve({});
  }
}
