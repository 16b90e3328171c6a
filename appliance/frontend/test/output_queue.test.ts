import { describe, expect, it } from "vitest";

import { batchOf, outputOf, reportOf } from "../src/output_items.js";
import type { OutputItem } from "../src/output_items.js";
import { MAX_WAITING_CHARACTERS, MAX_WAITING_ITEMS, MAX_WAITING_RICH_CHARACTERS, OutputQueue } from "../src/output_queue.js";

const out = (text: string): OutputItem => ({ kind: "stream", name: "stdout", text });
const err = (text: string): OutputItem => ({ kind: "stream", name: "stderr", text });
const display = (text: string): OutputItem => ({ kind: "display", data: { "text/plain": text }, metadata: {}, displayId: "" });
const update = (displayId: string, text: string): OutputItem => ({ kind: "update", data: { "text/plain": text }, metadata: {}, displayId });
const comm: OutputItem = { kind: "comm", type: "comm_msg", content: {}, metadata: {} };
const clear = (wait: boolean): OutputItem => ({ kind: "clear", wait });

function queued(...items: OutputItem[]): OutputQueue {
  const queue = new OutputQueue();
  for (const item of items) queue.push(item);
  return queue;
}

describe("OutputQueue", () => {
  it("merges what one stream says in a row", () => {
    expect(queued(out("a"), out("b"), err("c"), out("d")).take().items).toEqual([out("ab"), err("c"), out("d")]);
  });

  it("is empty after it was taken", () => {
    const queue = queued(out("a"));
    queue.take();
    expect(queue.empty).toBe(true);
    expect(queue.take()).toEqual({ type: "batch", items: [], dropped: 0 });
  });

  it("holds a flood of text to its limit, and counts the rest", () => {
    const queue = new OutputQueue();
    for (let number = 0; number < 30; number += 1) queue.push(out("x".repeat(100_000)));
    const { items, dropped } = queue.take();
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({ text: "x".repeat(MAX_WAITING_CHARACTERS) });
    expect(dropped).toBe(2_000_000);
  });

  it("holds a flood of displays to its limit", () => {
    const queue = new OutputQueue();
    for (let number = 0; number < MAX_WAITING_ITEMS + 5; number += 1) queue.push(display("abcd"));
    const { items, dropped } = queue.take();
    expect(items).toHaveLength(MAX_WAITING_ITEMS);
    expect(dropped).toBe(20);
  });

  it("keeps the last of many updates of one display", () => {
    const queue = queued(out("a"), update("x", "0"), update("y", "y"), out("b"));
    for (let number = 1; number <= MAX_WAITING_ITEMS; number += 1) queue.push(update("x", String(number)));
    expect(queue.take()).toEqual({
      type: "batch",
      items: [out("a"), update("y", "y"), out("b"), update("x", String(MAX_WAITING_ITEMS))],
      dropped: 0,
    });
  });

  it("keeps an update when the next is too large", () => {
    const { items, dropped } = queued(update("x", "1"), update("x", "2".repeat(MAX_WAITING_RICH_CHARACTERS + 1))).take();
    expect(items).toEqual([update("x", "1")]);
    expect(dropped).toBe(MAX_WAITING_RICH_CHARACTERS + 1);
  });

  it("leaves updates where they are among messages of widgets", () => {
    const items = [update("x", "1"), comm, update("x", "2")];
    expect(queued(...items).take().items).toEqual(items);
  });

  it("forgets what was cleared", () => {
    expect(queued(out("a"), clear(false), out("b")).take().items).toEqual([clear(false), out("b")]);
    expect(queued(clear(false), clear(false)).take().items).toEqual([clear(false)]);
  });

  it("keeps what a waiting clear has not cleared yet", () => {
    expect(queued(out("a"), clear(true)).take().items).toEqual([out("a"), clear(true)]);
    expect(queued(out("a"), clear(true), out("b")).take().items).toEqual([clear(true), out("b")]);
  });

  it("counts nothing as left out that was cleared", () => {
    const queue = queued(out("x".repeat(MAX_WAITING_CHARACTERS + 9)), clear(false), out("b"));
    expect(queue.take()).toEqual({ type: "batch", items: [clear(false), out("b")], dropped: 0 });
  });
});

describe("outputOf", () => {
  const of = (type: string, content: Record<string, unknown>): OutputItem | undefined =>
    outputOf({ id: "", type, content, parentId: "", metadata: {} });

  it("takes values of the wrong type as empty", () => {
    expect(of("stream", { name: 1, text: {} })).toEqual(out(""));
    expect(of("display_data", { data: "x", transient: [] })).toEqual({ kind: "display", data: {}, metadata: {}, displayId: "" });
  });

  it("shows a traceback, or the exception where there is none", () => {
    expect(of("error", { ename: "E", evalue: "v", traceback: ["a", "b"] })).toEqual({ kind: "error", text: "a\nb" });
    expect(of("error", { ename: "E", evalue: "v", traceback: [] })).toEqual({ kind: "error", text: "E: v" });
  });

  it("shows nothing for a status", () => {
    expect(of("status", { execution_state: "busy" })).toBeUndefined();
  });
});

describe("messages between page and frame", () => {
  it.each([[null], ["ready"], [{ type: "ready" }], [{ type: "height", height: "9" }], [{ type: "height", height: NaN }],
    [{ type: "height", height: -1 }], [{ type: "open", height: 1 }]])("a report is refused: %j", (data) => {
    expect(reportOf(data)).toBeUndefined();
  });

  it("a report is a type and a height, and nothing else", () => {
    expect(reportOf({ type: "height", height: 12.5, href: "https://example.org" })).toEqual({ type: "height", height: 12.5 });
  });

  it("a batch is told from a page's other messages", () => {
    expect(batchOf({ type: "batch", items: [], dropped: 0 })).toBeDefined();
    expect(batchOf({ type: "hello" })).toBeUndefined();
    expect(batchOf("batch")).toBeUndefined();
  });
});
