/** Which of the forms of an output is shown. */

import type { Json } from "../messages.js";

export const WIDGET_VIEW = "application/vnd.jupyter.widget-view+json";

/** A figure of plotly (docs: plotly's "Displaying figures", renderer `plotly_mimetype`). */
export const PLOTLY_FIGURE = "application/vnd.plotly.v1+json";

export const MIME_TYPES = [
  WIDGET_VIEW,
  PLOTLY_FIGURE,
  "text/html",
  "text/latex",
  "image/svg+xml",
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "text/markdown",
  "application/javascript",
  "application/json",
  "text/plain",
] as const;

export type MimeType = (typeof MIME_TYPES)[number];

export interface Rich {
  readonly type: MimeType;
  readonly value: unknown;
}

/** Return the richest form that this frame can show. */
export function richest(data: Json): Rich | undefined {
  for (const type of MIME_TYPES) {
    const value = data[type];
    if (value !== undefined && value !== null) return { type, value };
  }
  return undefined;
}

/** Return a value as text; notebooks may hold text as a list of lines. */
export function asText(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((line) => typeof line === "string")) return value.join("");
  return JSON.stringify(value, null, 2);
}
