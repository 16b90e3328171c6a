import { describe, expect, it } from "vitest";

import { CATALOGUES, stringsFor, told } from "../src/strings/catalogue.js";
import { de } from "../src/strings/de.js";
import { en } from "../src/strings/en.js";
import { fr } from "../src/strings/fr.js";
import { zh } from "../src/strings/zh.js";

describe("stringsFor", () => {
  it.each([
    [["fr"], fr],
    [["de-AT"], de],
    [["zh-Hans-CN"], zh],
    [["zh_TW"], zh],
    [["ar", "fr"], fr],
    [[undefined, null, "", "ar"], en],
    [["constructor"], en],
  ])("of %j", (tags, texts) => {
    expect(stringsFor(...tags)).toBe(texts);
  });
});

describe("catalogues", () => {
  const others = Object.entries(CATALOGUES).filter(([name]) => name !== "en");

  it.each(others)("%s has every entry, in its own words", (_, texts) => {
    expect(Object.keys(texts)).toEqual(Object.keys(en));
    const same = Object.entries(texts).filter(([name, text]) => typeof text === "string" && text === en[name as keyof typeof en]);
    // "HTML", and words that two languages share
    expect(same.map(([name]) => name).filter((name) => !["embed", "codeTitle"].includes(name))).toEqual([]);
  });

  it.each(others)("%s puts in what it is given", (_, texts) => {
    expect(texts.finished("1.4 s")).toContain("1.4 s");
    expect(texts.waiting(3)).toContain("3");
    expect(texts.waiting(0)).not.toContain("0");
    expect(texts.offers("a.csv", "4 kB")).toMatch(/a\.csv.*4 kB/);
    expect(texts.notInstalled("GAP", "Python")).toMatch(/GAP.*Python/);
    expect(texts.wait(1)).not.toBe(texts.wait(2));
  });

  it("know the same reasons and failures", () => {
    for (const [, texts] of others) {
      expect(Object.keys(texts.endings)).toEqual(Object.keys(de.endings));
      expect(Object.keys(texts.errors)).toEqual(Object.keys(de.errors));
    }
  });

  it("leave what they do not know to the server's own words", () => {
    expect(told(de.endings, "idle", "It was idle.")).toBe(de.endings.idle);
    expect(told(de.endings, "toString", "It was odd.")).toBe("It was odd.");
    expect(told(en.endings, "idle", "It was idle.")).toBe("It was idle.");
  });
});
