import { describe, expect, it } from "vitest";

import { environmentFor, labelOf, notInstalled, offeredBy, sentFor } from "../src/languages.js";
import { languagesOf } from "../src/options.js";
import { stringsFor } from "../src/strings/catalogue.js";

const TEXTS = stringsFor(undefined, "en");

/** As the server makes titles where none is given. */
const SERVER = [
  { name: "python", title: "Python", language: "python" },
  { name: "gap", title: "Gap", language: "gap" },
  { name: "shell", title: "Bash", language: "bash" },
  { name: "course", title: "Python for the course", language: "python" },
];

describe("the menu of languages", () => {
  it("offers everything that the server has, each under one name", () => {
    expect(offeredBy(SERVER)).toEqual(["python", "gap", "bash", "course"]);
    expect(offeredBy(SERVER).map((name) => environmentFor(name, SERVER))).toEqual(["python", "gap", "shell", "course"]);
  });

  it("calls languages by their names, and others by the titles of their environments", () => {
    expect(["python", "gap", "bash", "course", "octave", "sage"].map((name) => labelOf(name, SERVER, TEXTS))).toEqual([
      "Python",
      "GAP",
      "Bash",
      "Python for the course",
      "Octave (not installed)",
      "Sage (running Python)",
    ]);
    expect(notInstalled("octave", SERVER, TEXTS)).toContain("Python, GAP, Bash, Python for the course");
  });

  it("shows HTML by the default environment where there is none for it", () => {
    expect(environmentFor("html", SERVER)).toBe("python");
    expect(labelOf("html", SERVER, TEXTS)).toBe("HTML");
    expect(sentFor("html", SERVER, "<b>x</b>")).toBe("%%html\n<b>x</b>");
    expect(sentFor("html", SERVER, " \n")).toBe(" \n");
    expect(sentFor("html", [...SERVER, { name: "web", title: "Web", language: "html" }], "<b>")).toBe("<b>");
    expect(sentFor("python", SERVER, "1")).toBe("1");
  });

  it("begins with a language and not with everything", () => {
    expect(languagesOf("*", null, "python")).toEqual(["python", "*"]);
    expect(languagesOf("* gap", null, "python")).toEqual(["gap", "*"]);
    expect(languagesOf("*", "r", "python")).toEqual(["r", "*"]);
  });
});
