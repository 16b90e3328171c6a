/** What page and output frame say to each other (T7), and the parsing of both directions. */

import { isObject, textOf } from "./messages.js";
import type { Json, KernelMessage } from "./messages.js";

/** What is shown; `parent`: the `msg_id` of the request that it answers, by which it may belong to a widget. */
export type OutputItem = (
  | { readonly kind: "stream"; readonly name: "stdout" | "stderr"; readonly text: string }
  | { readonly kind: "display"; readonly data: Json; readonly metadata: Json; readonly displayId: string }
  | { readonly kind: "update"; readonly data: Json; readonly metadata: Json; readonly displayId: string }
  | { readonly kind: "error"; readonly text: string }
  | { readonly kind: "clear"; readonly wait: boolean }
  | CommItem
) & { readonly parent?: string };

/** A message of a widget (Jupyter messaging, "Custom messages"). */
export interface CommItem {
  readonly kind: "comm";
  readonly type: CommType;
  readonly content: Json;
  readonly metadata: Json;
}

export type CommType = "comm_open" | "comm_msg" | "comm_close";

/** Frame to page: a widget has something to say to the kernel, in a message with the id `id`. */
export interface CommReport {
  readonly type: "comm";
  readonly id: string;
  readonly message: CommType;
  readonly content: Json;
  /** In base64. */
  readonly buffers: readonly string[];
}

/** Largest message of a widget, in characters of its JSON and its buffers; the server takes about as many bytes. */
export const MAX_COMM_CHARACTERS = 1_000_000;

const COMM_TYPES: ReadonlySet<string> = new Set<CommType>(["comm_open", "comm_msg", "comm_close"]);
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const MESSAGE_ID = /^[0-9a-f]{32}$/;

/** Return a widget's message in a message event's data, or `undefined`. A visitor's script may have made it. */
export function commOf(data: unknown): CommReport | undefined {
  if (!isObject(data) || data.type !== "comm" || !isObject(data.content)) return undefined;
  const { id, message, content } = data;
  if (typeof id !== "string" || !MESSAGE_ID.test(id)) return undefined;
  if (typeof message !== "string" || !COMM_TYPES.has(message)) return undefined;
  const given: unknown[] = Array.isArray(data.buffers) ? data.buffers : [];
  const buffers = given.filter((buffer): buffer is string => typeof buffer === "string" && BASE64.test(buffer));
  if (buffers.length !== given.length) return undefined;
  const characters = buffers.reduce((sum, buffer) => sum + buffer.length, JSON.stringify(content).length);
  if (characters > MAX_COMM_CHARACTERS) return undefined;
  return { type: "comm", id, message: message as CommType, content, buffers };
}

/** Page to frame: show these. `dropped` counts characters left out before them. */
export interface Batch {
  readonly type: "batch";
  readonly items: readonly OutputItem[];
  readonly dropped: number;
}

/** Frame to page: `ready` once, `shown` after each batch, both with the height of the content in CSS pixels. */
export interface FrameReport {
  readonly type: "ready" | "shown" | "height";
  readonly height: number;
}

/** A file that a link in the output offers. */
export interface OfferedFile {
  readonly name: string;
  readonly bytes: ArrayBuffer;
}

/** Largest file that a page takes from its output. */
export const MAX_FILE_BYTES = 33_554_432;

/** Return the file in a message event's data, or `undefined`. A visitor's script may have made it. */
export function fileOf(data: unknown): OfferedFile | undefined {
  if (!isObject(data) || data.type !== "file" || !(data.bytes instanceof ArrayBuffer)) return undefined;
  if (data.bytes.byteLength > MAX_FILE_BYTES) return undefined;
  // a name, not a path, and nothing that reads from right to left or breaks a line
  const name = textOf(data.name).replace(/[^\p{L}\p{N} ._()-]/gu, "").replace(/^[. ]+/, "").slice(0, 100);
  return { name: name === "" ? "download" : name, bytes: data.bytes };
}

/** Return what a reply wants shown: help, asked for by a question mark (Jupyter messaging, "Payloads"). */
export function pagesOf(reply: Json): OutputItem[] {
  const payloads = Array.isArray(reply.payload) ? reply.payload.filter(isObject) : [];
  return payloads
    .filter((payload) => payload.source === "page" && isObject(payload.data))
    .map((payload) => ({ kind: "display", data: payload.data as Json, metadata: {}, displayId: "" }));
}

/** Return what an iopub message shows, or `undefined` when it shows nothing. */
export function outputOf(message: KernelMessage): OutputItem | undefined {
  const item = itemOf(message);
  return item && message.parentId !== "" ? { ...item, parent: message.parentId } : item;
}

function itemOf(message: KernelMessage): OutputItem | undefined {
  const { content } = message;
  const data = isObject(content.data) ? content.data : {};
  const metadata = isObject(content.metadata) ? content.metadata : {};
  const transient = isObject(content.transient) ? content.transient : {};
  const displayId = textOf(transient.display_id);
  switch (message.type) {
    case "stream":
      return { kind: "stream", name: content.name === "stderr" ? "stderr" : "stdout", text: textOf(content.text) };
    case "display_data":
    case "execute_result":
      return { kind: "display", data, metadata, displayId };
    case "update_display_data":
      return { kind: "update", data, metadata, displayId };
    case "error": {
      const traceback = Array.isArray(content.traceback) ? content.traceback.map(textOf) : [];
      const summary = `${textOf(content.ename)}: ${textOf(content.evalue)}`;
      return { kind: "error", text: traceback.length > 0 ? traceback.join("\n") : summary };
    }
    case "clear_output":
      return { kind: "clear", wait: content.wait === true };
    case "comm_open":
    case "comm_msg":
    case "comm_close":
      return { kind: "comm", type: message.type, content, metadata: message.metadata };
    default:
      return undefined;
  }
}

/** Return the batch in a message event's data, or `undefined`. The frame trusts the page that made it. */
export function batchOf(data: unknown): Batch | undefined {
  return isObject(data) && data.type === "batch" && Array.isArray(data.items)
    ? (data as unknown as Batch)
    : undefined;
}

/** Return the report in a message event's data, or `undefined`. A visitor's script may have made it. */
export function reportOf(data: unknown): FrameReport | undefined {
  if (!isObject(data)) return undefined;
  const { type, height } = data;
  if (type !== "ready" && type !== "shown" && type !== "height") return undefined;
  if (typeof height !== "number" || !Number.isFinite(height) || height < 0) return undefined;
  return { type, height };
}

/** Return about how many characters an item takes. */
export function sizeOf(item: OutputItem): number {
  switch (item.kind) {
    case "stream":
    case "error":
      return item.text.length;
    case "display":
    case "update": {
      let size = 0;
      for (const value of Object.values(item.data)) size += typeof value === "string" ? value.length : 64;
      return size;
    }
    case "clear":
      return 0;
    case "comm":
      return JSON.stringify([item.content, item.metadata]).length;
  }
}
