import { describe, expect, it } from "vitest";

import { pieces } from "../src/frame/latex.js";
import { withoutMath } from "../src/frame/markdown.js";
import { asText, richest } from "../src/frame/mime.js";

describe("richest", () => {
  it.each([
    [{ "text/plain": "x", "text/latex": "$x$", "image/png": "" }, "text/latex"],
    [{ "text/plain": "x", "text/html": "<b>x</b>" }, "text/html"],
    [{ "text/plain": "x", "image/png": "" }, "image/png"],
    [{ "text/plain": "x", "application/x-unknown": "" }, "text/plain"],
    [{ "text/plain": "x", "text/html": null }, "text/plain"],
    [{ "text/html": "<b>x</b>", "application/vnd.plotly.v1+json": { data: [] } }, "application/vnd.plotly.v1+json"],
  ])("of %j is %s", (data, type) => {
    expect(richest(data)?.type).toBe(type);
  });

  it("is undefined where nothing can be shown", () => {
    expect(richest({ "application/x-unknown": "" })).toBeUndefined();
  });
});

describe("asText", () => {
  it("joins lines and prints other values", () => {
    expect(asText(["a\n", "b"])).toBe("a\nb");
    expect(asText({ a: 1 })).toBe('{\n  "a": 1\n}');
  });
});

describe("pieces", () => {
  const kinds = (source: string): [boolean, boolean, string][] =>
    pieces(source).map(({ math, display, text }) => [math, display, text]);

  it("takes what sympy prints as a formula of its own", () => {
    expect(kinds("$\\displaystyle \\frac{x}{2}$")).toEqual([[true, true, "\\displaystyle \\frac{x}{2}"]]);
  });

  it("tells formulas in the line from those on their own", () => {
    expect(kinds("Let $x$ be $$y$$ or \\(a\\) or \\[b\\].")).toEqual([
      [false, false, "Let "],
      [true, false, "x"],
      [false, false, " be "],
      [true, true, "y"],
      [false, false, " or "],
      [true, false, "a"],
      [false, false, " or "],
      [true, true, "b"],
      [false, false, "."],
    ]);
  });

  it("takes environments whole", () => {
    const source = "\\begin{align*}a&=b\\\\c&=d\\end{align*}";
    expect(kinds(source)).toEqual([[true, true, source]]);
  });

  it("leaves an escaped dollar alone inside a formula", () => {
    expect(kinds("$a\\$b$")).toEqual([[true, false, "a\\$b"]]);
  });
});

describe("withoutMath", () => {
  const place = (number: number): string => `<span data-formula="${number}"></span>`;

  it.each([
    ["The value n is $n$.", `The value n is ${place(0)}.`, ["n"]],
    ["a $$b$$ c \\(a\\) \\[c\\] $a$", `a ${place(0)} c ${place(1)} ${place(2)} ${place(3)}`, ["b", "a", "c", "a"]],
    ["x \\begin{align}x\\end{align} $x$", `x ${place(0)} ${place(1)}`, ["\\begin{align}x\\end{align}", "x"]],
    ["`$n$` and n, $n$", "`$n$` and n, " + place(0), ["n"]],
    ["costs $5", "costs $5", []],
  ])("takes formulas out of %j", (source, text, formulas) => {
    expect(withoutMath(source).text).toBe(text);
    expect(withoutMath(source).formulas.map((formula) => formula.text)).toEqual(formulas);
  });
});
