import { describe, expect, it } from "vitest";

import { fromBase64, toBase64 } from "../src/frame/base64.js";
import { commRequest } from "../src/messages.js";
import { MAX_COMM_CHARACTERS, commOf } from "../src/output_items.js";

const ID = "0123456789abcdef0123456789abcdef";

describe("base64", () => {
  it("carries bytes there and back, more than one call takes", () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
    const back = fromBase64(toBase64(bytes));
    expect(new Uint8Array(back.buffer)).toEqual(bytes);
    expect(toBase64(bytes.subarray(1, 4))).toBe(toBase64(bytes.slice(1, 4).buffer));
    expect(fromBase64("no base64!").byteLength).toBe(0);
  });
});

describe("commOf", () => {
  const whole = { type: "comm", id: ID, message: "comm_msg", content: { comm_id: "a" }, buffers: ["AAE="] };

  it("takes buffers in base64", () => {
    expect(commOf(whole)).toEqual(whole);
    expect(commOf({ ...whole, buffers: undefined })?.buffers).toEqual([]);
  });

  it.each([[[1]], [["<"]], [["A".repeat(MAX_COMM_CHARACTERS)]]])("refuses other buffers", (buffers) => {
    expect(commOf({ ...whole, buffers })).toBeUndefined();
  });
});

describe("commRequest", () => {
  it("puts buffers into the metadata", () => {
    expect(commRequest("s", "comm_msg", ID, {}, ["AAE="]).metadata).toEqual({ buffers: ["AAE="] });
    expect(commRequest("s", "comm_msg", ID, {}).metadata).toEqual({});
  });
});
