/**
 * Widgets that bring their own front end as the text of a JavaScript module (anywidget's front-end module: an object
 * with `initialize` and `render`, or a function that returns one). It runs in this frame, as everything of a kernel does.
 */

import * as base from "@jupyter-widgets/base";

import { randomId, textOf } from "../messages.js";

type JSONValue = Parameters<base.DOMWidgetModel["send"]>[0];
type Callback = (...values: unknown[]) => void;
type Cleanup = (() => unknown) | undefined;

/** What a module sees of its model. */
interface ModelApi {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(name: string, callback: Callback): void;
  off(name?: string | null, callback?: Callback | null): void;
  readonly widget_manager: { get_model(id: string): Promise<unknown> };
}

interface Context {
  readonly model: ModelApi;
  readonly signal: AbortSignal;
  readonly experimental: { invoke: Invoke };
}

interface AnyModule {
  initialize?(context: Context): unknown;
  render?(context: Context & { readonly el: HTMLElement }): unknown;
}

type Invoke = (name: string, message?: unknown, options?: { buffers?: ArrayBuffer[]; signal?: AbortSignal }) => Promise<[unknown, DataView[]]>;

/** Answers that a module waits for at most so long, unless it says how long. */
const INVOKE_MILLISECONDS = 3_000;

function defaultOf(exports: Record<string, unknown>): unknown {
  // modules of anywidget's first versions export `render` alone
  return exports.default ?? { render: exports.render };
}

/** Large modules, by the keys that the kernel gave them: it sends each once to this frame. */
const large = new Map<string, Promise<Record<string, unknown>>>();

/** Load a module of which there is only the text. Raises what is wrong with it. */
async function exportsOf(text: string): Promise<Record<string, unknown>> {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return (await import(address)) as Record<string, unknown>;
  } finally {
    URL.revokeObjectURL(address);
  }
}

export class AnyModel extends base.DOMWidgetModel {
  // Set before the fields of this class would be: Backbone initializes a model while it is constructed.
  private declare life: AbortController;
  private declare loading: Promise<AnyModule> | undefined;

  override defaults(): Backbone.ObjectHash {
    return {
      ...super.defaults(),
      _model_name: "AnyModel",
      _model_module: "anywidget",
      _model_module_version: "*",
      _view_name: "AnyView",
      _view_module: "anywidget",
      _view_module_version: "*",
    };
  }

  override initialize(...options: Parameters<base.DOMWidgetModel["initialize"]>): void {
    this.life = new AbortController();
    super.initialize(...options);
    this.load().catch(() => undefined);
  }

  override close(closed = false): Promise<void> {
    this.life.abort();
    return super.close(closed);
  }

  /** Copy what is sent, binary values as such: by way of JSON, as other models do, they would be lost. */
  override serialize(state: Record<string, unknown>): ReturnType<base.DOMWidgetModel["serialize"]> {
    const own = Object.entries(state).filter(([name]) => !(name in AnyModel.serializers));
    const others = Object.fromEntries(Object.entries(state).filter(([name]) => name in AnyModel.serializers));
    const copies = Object.fromEntries(own.map(([name, value]) => [name, structuredClone(value)]));
    return { ...super.serialize(others), ...copies } as ReturnType<base.DOMWidgetModel["serialize"]>;
  }

  /** Return the module, loaded and initialized once. Raises what is wrong with it. */
  load(): Promise<AnyModule> {
    this.loading ??= (async () => {
      const found = defaultOf(await this.exports());
      const module = (typeof found === "function" ? await (found as () => unknown)() : found) as AnyModule;
      const cleanup = (await module.initialize?.(this.context(this, this.life.signal))) as Cleanup;
      this.life.signal.addEventListener("abort", () => cleanup?.());
      return module;
    })();
    return this.loading;
  }

  private exports(): Promise<Record<string, unknown>> {
    const key = textOf(this.get("_module_key"));
    if (key === "") return exportsOf(textOf(this.get("_esm")));
    const exports = large.get(key) ?? this.text().then(exportsOf);
    large.set(key, exports);
    return exports;
  }

  /** Return the text of the module. A kernel that sent it to another frame is asked for it. */
  private text(): Promise<string> {
    const text = textOf(this.get("_esm"));
    if (text !== "") return Promise.resolve(text);
    return new Promise((resolve) => {
      this.once("change:_esm", () => {
        resolve(textOf(this.get("_esm")));
      });
      this.comm?.send({ method: "request_state" }, this.callbacks());
    });
  }

  /** Return what a module is given; what it listens to ends with `signal`. */
  context(listener: object, signal: AbortSignal): Context {
    signal.addEventListener("abort", () => {
      this.stopFor(listener);
    });
    const model: ModelApi = {
      get: (name) => this.get(name) as unknown,
      set: (name, value) => {
        this.set(name, value);
      },
      save_changes: () => {
        this.save_changes();
      },
      send: (content, callbacks, buffers) => {
        this.send(content as JSONValue, callbacks as base.ICallbacks | undefined, buffers);
      },
      on: (name, callback) => {
        this.on(name, callback, listener);
      },
      off: (name, callback) => {
        this.stopFor(listener, name, callback);
      },
      widget_manager: { get_model: (id) => this.widget_manager.get_model(id) },
    };
    return { model, signal, experimental: { invoke: this.invoke } };
  }

  private stopFor(listener: object, name?: string | null, callback?: Callback | null): void {
    (this.off as (name?: string | null, callback?: Callback | null, listener?: object) => void).call(this, name, callback, listener);
  }

  /** Call a command of the widget in Python and wait for what it returns. */
  private readonly invoke: Invoke = (name, message, { buffers = [], signal = AbortSignal.timeout(INVOKE_MILLISECONDS) } = {}) => {
    const id = randomId();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.off("msg:custom", answered);
        signal.removeEventListener("abort", refused);
      };
      const refused = (): void => {
        end();
        reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      };
      const answered = (answer: { id?: unknown; response?: unknown }, given: DataView[]): void => {
        if (answer.id !== id) return;
        end();
        resolve([answer.response, given]);
      };
      signal.addEventListener("abort", refused);
      this.on("msg:custom", answered);
      this.send({ id, kind: "anywidget-command", name, msg: message as JSONValue }, undefined, buffers);
    });
  };
}

export class AnyView extends base.DOMWidgetView {
  private readonly life = new AbortController();
  private cleanup: Cleanup;

  /** A module may ask Python before it draws: the view is there at once, and messages do not wait for it. */
  override render(): void {
    super.render();
    const { model } = this;
    if (!(model instanceof AnyModel)) return;
    const style = document.createElement("style");
    style.textContent = textOf(model.get("_css"));
    this.el.append(style);
    const element = document.createElement("div");
    this.el.append(element);
    void this.draw(model, element);
  }

  private async draw(model: AnyModel, element: HTMLElement): Promise<void> {
    try {
      const module = await model.load();
      this.cleanup = (await module.render?.({ ...model.context(this, this.life.signal), el: element })) as Cleanup;
      if (this.life.signal.aborted) this.cleanup?.();
    } catch (error) {
      element.className = "error";
      element.textContent = `This widget's own program failed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  override remove(): void {
    if (!this.life.signal.aborted) {
      this.life.abort();
      this.cleanup?.();
    }
    super.remove();
  }
}
