import { describe, expect, it } from "vitest";

import { environmentFor, environmentsOf, labelOf, notInstalled } from "../src/languages.js";
import { en } from "../src/strings/en.js";
import { languagesOf, linkKeyOf, partsOf, trimLines, withTemplate } from "../src/options.js";

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
  const r = { name: "r-4", title: "R (statistics)", language: "R" };
  const sage = { name: "sage", title: "SageMath", language: "sage" };

  it("says what runs, and what does not", () => {
    expect(labelOf("python", [], en)).toBe("Python");
    expect(labelOf("sage", [], en)).toBe("Sage (running Python)");
    expect(labelOf("sage", [sage], en)).toBe("Sage");
    expect(labelOf("r", [sage], en)).toBe("R (not installed)");
    expect(labelOf("r", [r], en)).toBe("R");
    expect(notInstalled("gap", [r, sage], en)).toContain("GAP is not installed on this server");
    expect(notInstalled("gap", [r, sage], en)).toContain("Installed: R (statistics), SageMath.");
  });

  it("finds the environment by its name, then by its language, then what runs the language instead", () => {
    expect(environmentFor("r", [{ ...r, name: "r", language: "other" }, r])).toBe("r");
    expect(environmentFor("r", [r])).toBe("r-4");
    expect(environmentFor("python", [])).toBe("python");
    expect(environmentFor("constructor", [])).toBeUndefined();
  });

  it("believes of an answer only what is an environment", () => {
    expect(environmentsOf({ environments: [{ name: "a" }, {}, 1, { name: 2 }] })).toEqual([{ name: "a", title: "", language: "" }]);
    expect(environmentsOf("x")).toEqual([]);
  });

  it("come from lists and from words, the preferred one first", () => {
    expect(languagesOf(["r", "gap"], undefined, "sage")).toEqual(["r", "gap"]);
    expect(languagesOf("r gap", "gap", "sage")).toEqual(["gap", "r"]);
    expect(languagesOf(undefined, undefined, "sage")).toEqual(["sage"]);
    expect(languagesOf([1], null, "sage")).toEqual(["sage"]);
  });
});
