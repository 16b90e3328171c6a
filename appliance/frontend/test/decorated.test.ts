import { describe, expect, it } from "vitest";

import { decoratedIn, languageOfDecorator } from "../src/decorated.js";

/** The decorators in code: name, text, and the line that ends it. */
function found(code: string): [string, string, string][] {
  return decoratedIn(code).map(({ name, text, end }) => [name, code.slice(text.from, text.to), code.slice(end.from, end.to)]);
}

describe("decoratedIn", () => {
  it.each<[string, [string, string, string][]]>([
    ["x = 1", []],
    ["%html <b>hi</b>\nx", [["html", " <b>hi</b>", ""]]],
    ["a\n%html\n<b>\n</b>", [["html", "<b>\n</b>", ""]]],
    ["%%r\nx <- 1\ny", [["r", "x <- 1\ny", ""]]],
    ['%dec "END"\na\nEND\nx = 1', [["dec", "a", "END"]]],
    ['%"END" dec\na\n  END\nx = 1', [["dec", "a", "  END"]]],
    ["%'END' dec\na", [["dec", "a", ""]]],
    // a word in quotes that no line repeats is the text
    ['%dec "text"\nx = 1', [["dec", ' "text"', ""]]],
    ["if a:\n    %html\n    <b>\n\n    </b>\nx = 1", [["html", "    <b>\n\n    </b>", ""]]],
    ["%a.b(c, ')')[0]\ntext", [["a.b", "text", ""]]],
    ["%html", [["html", "", ""]]],
    ["%html\n", [["html", "", ""]]],
    // what follows one decorator may be the next one
    ['%a "E"\n1\nE\n%b "E"\n2\nE', [["a", "1", "E"], ["b", "2", "E"]]],
  ])("%j", (code, decorators) => {
    expect(found(code)).toEqual(decorators);
  });

  it.each([
    "x = 7\\\n%html",
    "x = (7\n%html\n)",
    's = """\n%html\n"""',
    "s = '''it's\n%html\n'''",
    "x = 7 %html",
    "%matplotlib\nx = 1",
    "%(name)s",
    "%html;x",
    "%f(x",
    "% html",
  ])("%j has none", (code) => {
    expect(found(code)).toEqual([]);
  });

  it("does not take a quote in a comment or a text for the beginning of a string", () => {
    expect(found("# it's\n%html <b>")).toHaveLength(1);
    expect(found("x = 'it\\'s'\n%html <b>")).toHaveLength(1);
    expect(found('%a "E"\nit\'s (\nE\n%html <b>')).toHaveLength(2);
  });

  it("keeps to the code", () => {
    for (const code of ["%", "%%", "%a", "%a\n", '%a "E"\nE', "  %a\n", "%a\n\n\n", "%a.", "%a[", "%\"E\" a\nE"]) {
      for (const { head, text, end } of decoratedIn(code)) {
        const positions = [head.from, head.to, text.from, text.to, end.from, end.to];
        expect(positions).toEqual([...positions].sort((one, two) => one - two));
        expect(end.to).toBeLessThanOrEqual(code.length);
      }
    }
  });
});

describe("languageOfDecorator", () => {
  it.each([
    ["html", "html"],
    ["r", "r"],
    ["r.eval", "r"],
    ["bash", "shell"],
    ["timeit", "python"],
    ["mine", "mine"],
    ["constructor", "constructor"],
  ])("%s is %s", (name, language) => {
    expect(languageOfDecorator(name)).toBe(language);
  });
});
