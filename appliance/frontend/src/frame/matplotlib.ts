/** The widgets of matplotlib's interactive figures (ipympl), in a bundle of its own over that of all widgets. */

export { MPLCanvasModel, MPLCanvasView, ToolbarModel, ToolbarView } from "jupyter-matplotlib";
