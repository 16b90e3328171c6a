import { describe, expect, it } from "vitest";

import { isInstalled, labelOf, notInstalled } from "../src/languages.js";
import { linkKeyOf, partsOf, trimLines, withTemplate } from "../src/options.js";

describe("partsOf", () => {
  it("knows our names and those of SageMathCell, and ignores others", () => {
    expect([...partsOf(["evalButton", "permalink", "computationID", "constructor", 7])]).toEqual(["evalButton", "share"]);
    expect([...partsOf("editor language")]).toEqual(["editor", "language"]);
    expect([...partsOf(undefined)]).toEqual([]);
  });
});

describe("withTemplate", () => {
  it("puts options over those of the template, and adds up what is hidden", () => {
    const options = { evalButtonText: "Go", hide: ["language"], template: { evalButtonText: "Run", editor: "x", hide: ["permalink"] } };
    expect(withTemplate(options)).toMatchObject({ evalButtonText: "Go", editor: "x", hide: ["permalink", "language"] });
  });
});

describe("linkKeyOf", () => {
  it.each([
    [{}, undefined],
    [{ linked: true }, "call 1"],
    [{ linkKey: "a" }, "a"],
    [{ linked: true, linkKey: "a" }, "a"],
    [{ linked: "yes" }, undefined],
  ])("of %j is %s", (options, key) => {
    expect(linkKeyOf(options, "call 1")).toBe(key);
  });
});

describe("trimLines", () => {
  it("removes blank lines around code, and keeps the indentation of the first", () => {
    expect(trimLines("\n  \n    x = 1\n    y = 2\n  ")).toBe("    x = 1\n    y = 2");
  });
});

describe("languages", () => {
  it("says what runs, and what does not", () => {
    expect(labelOf("python")).toBe("Python");
    expect(labelOf("sage")).toBe("Sage (running Python)");
    expect(labelOf("r")).toBe("R (not installed)");
    expect([isInstalled("python"), isInstalled("sage"), isInstalled("r"), isInstalled("constructor")]).toEqual([
      true, true, false, false,
    ]);
    expect(notInstalled("r")).toContain("R is not installed on this server");
  });
});
