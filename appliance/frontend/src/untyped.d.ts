// Packages without type declarations: what is used of them.

declare module "jupyter-matplotlib" {
  import type { DOMWidgetModel, DOMWidgetView } from "@jupyter-widgets/base";

  export const MPLCanvasModel: typeof DOMWidgetModel;
  export const MPLCanvasView: typeof DOMWidgetView;
  export const ToolbarModel: typeof DOMWidgetModel;
  export const ToolbarView: typeof DOMWidgetView;
}

declare module "plotly.js-dist-min" {
  /** The part of plotly.js that the frame uses (https://plotly.com/javascript/plotlyjs-function-reference/). */
  interface Plotly {
    newPlot(root: HTMLElement, data: unknown, layout?: unknown, config?: unknown): Promise<HTMLElement>;
    addFrames(root: HTMLElement, frames: unknown): Promise<unknown>;
    purge(root: HTMLElement): void;
  }
  const plotly: Plotly;
  export default plotly;
}
