/** Figures of plotly, drawn by plotly.js, which is loaded with the first of them. */

import { assetName } from "../assets.js";
import { isObject } from "../messages.js";

type Bundle = typeof import("./plotly.js");

let loading: Promise<Bundle> | undefined;

/** Figures that stand in the output, or did. */
const drawn = new Set<HTMLElement>();

/** Give back what figures hold that were cleared away: a browser has few contexts for three dimensions. */
function forget(plotly: Bundle["plotly"]): void {
  for (const element of drawn) {
    if (element.isConnected) continue;
    plotly.purge(element);
    drawn.delete(element);
  }
}

/** Fill `target`, which must be in the document, with a figure: `{data, layout, config, frames}`. */
export async function fillWithPlotly(target: HTMLElement, figure: unknown, base: string): Promise<void> {
  if (!isObject(figure)) throw new Error("a figure of plotly is an object");
  loading ??= import(`${base}${assetName("plotly.js")}`) as Promise<Bundle>;
  const { plotly } = await loading;
  forget(plotly);
  // What was shown in the same place meanwhile has gone.
  if (!target.isConnected) return;
  const element = document.createElement("div");
  target.replaceChildren(element);
  drawn.add(element);
  const config = isObject(figure.config) ? figure.config : {};
  await plotly.newPlot(element, figure.data ?? [], figure.layout ?? {}, { responsive: true, ...config });
  if (Array.isArray(figure.frames) && figure.frames.length > 0) await plotly.addFrames(element, figure.frames);
}
