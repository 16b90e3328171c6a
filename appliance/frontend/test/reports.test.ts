import { describe, expect, it } from "vitest";

import { executeRequest, timeOf, wantsResult } from "../src/messages.js";
import { ageText } from "../src/reports.js";

const NOW = new Date("2026-01-02T00:00:00Z");

describe("the age of a kept result", () => {
  it.each([
    ["2026-01-02T00:00:00Z", "now"],
    ["2026-01-01T23:59:30Z", "30 seconds ago"],
    ["2026-01-01T23:58:01Z", "1 minute ago"],
    ["2026-01-01T01:00:00Z", "23 hours ago"],
    ["2026-01-01T00:00:00Z", "yesterday"],
    ["2025-12-27T00:00:00Z", "6 days ago"],
    // a clock that is ahead
    ["2026-01-02T00:05:00Z", "now"],
  ])("of %s is %s", (made, words) => {
    expect(ageText(new Date(made), NOW, "en")).toBe(words);
  });

  it("is said in the cell's language", () => {
    expect(ageText(new Date("2026-01-01T23:55:00Z"), NOW, "de")).toBe("vor 5 Minuten");
  });
});

describe("a request for a result", () => {
  it("has the same id for everybody", () => {
    const [one, other] = [executeRequest("a", "1", { result: true }), executeRequest("b", "2", { result: true })];
    expect(one.header.msg_id).toBe(other.header.msg_id);
    expect(one.header.msg_id).toMatch(/^[0-9a-f]{32}$/);
    expect(wantsResult(one)).toBe(true);
  });

  it("is no other request", () => {
    expect(wantsResult(executeRequest("a", "1"))).toBe(false);
  });
});

describe("timeOf", () => {
  it("reads ISO 8601 and nothing else", () => {
    expect(timeOf("2026-01-02T00:00:00+00:00")?.getTime()).toBe(NOW.getTime());
    for (const other of ["", undefined, 5, "yesterday"]) expect(timeOf(other)).toBeUndefined();
  });
});
