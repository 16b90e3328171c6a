import { describe, expect, it } from "vitest";

import { InteractStates, MAX_SAVED_CHARACTERS, savedIn } from "../src/interacts.js";
import { executeRequest } from "../src/messages.js";
import type { CommItem, CommType } from "../src/output_items.js";
import { Server } from "../src/server.js";

function comm(type: CommType, id: string, state: Record<string, unknown> = {}): CommItem {
  return { kind: "comm", type, content: { comm_id: id, data: { method: "update", state } }, metadata: {} };
}

describe("savedIn", () => {
  it("takes lists and their JSON, and of what is wrong nothing", () => {
    const whole = [{ state: { n: 1 }, bookmarks: [{ name: "one", state: { n: 1 } }] }];
    expect(savedIn(whole)).toEqual(whole);
    expect(savedIn(JSON.stringify(whole))).toEqual(whole);
    expect(savedIn(JSON.stringify(JSON.stringify(whole)))).toEqual(whole);
    expect(savedIn('[{"state": 5}, 7, {"bookmarks": [1, {"name": 2}]}]')).toEqual([
      { state: {}, bookmarks: [] },
      { state: {}, bookmarks: [] },
      { state: {}, bookmarks: [{ name: "", state: {} }] },
    ]);
    for (const wrong of [undefined, null, "", "[", "{}", 5]) expect(savedIn(wrong)).toEqual([]);
  });
});

describe("InteractStates", () => {
  it("keeps the last values of each interact, in the order of the program", () => {
    const states = new InteractStates();
    states.hear(comm("comm_open", "a", { interact: { inner: false, state: { n: 0 } } }));
    states.hear(comm("comm_open", "slider", { value: 0 }));
    states.hear(comm("comm_open", "b", { interact: { inner: true, state: { m: 0 } } }));
    states.hear(comm("comm_open", "c", { interact: { inner: false, state: {} } }));
    states.hear(comm("comm_msg", "a", { interact: { inner: false, state: { n: 4 }, bookmarks: [{ name: "x", state: {} }] } }));
    expect(states.saved).toEqual([
      { state: { n: 4 }, bookmarks: [{ name: "x", state: {} }] },
      { state: {}, bookmarks: [] },
    ]);
    states.hear(comm("comm_close", "a"));
    expect(states.saved).toEqual([{ state: {}, bookmarks: [] }]);
  });

  it("shares nothing that is too large", () => {
    const states = new InteractStates();
    states.hear(comm("comm_open", "a", { interact: { state: { text: "x".repeat(MAX_SAVED_CHARACTERS) } } }));
    expect(states.saved).toEqual([]);
  });
});

describe("executeRequest", () => {
  it("carries interacts and checks only when there are some", () => {
    expect(executeRequest("s", "1").metadata).toEqual({ widgets: true });
    const extras = { interacts: [{ state: {}, bookmarks: [] }], checks: [{ title: "t", code: "c" }] };
    expect(executeRequest("s", "1", extras).metadata).toEqual({ widgets: true, ...extras });
  });
});

describe("links", () => {
  it("hold the state of interacts", () => {
    const links = new Server("https://cell.example/").links({ zip: "z", query: "q", interacts: "eJyL" }, "python");
    expect(new URL(links.complete).searchParams.get("interacts")).toBe("eJyL");
    expect(new URL(links.stored).searchParams.get("interacts")).toBeNull();
  });
});
