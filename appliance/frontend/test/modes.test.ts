import { StringStream } from "@codemirror/language";
import { describe, expect, it } from "vitest";

import { MODES } from "../src/modes.js";

type Name = "gap" | "gp" | "maxima" | "macaulay2" | "singular";

/** Return the texts of one kind that the grammar of a language finds in lines of code. */
function found(name: Name, kind: string, code: string): string[] {
  const mode = MODES[name];
  const state = mode.startState?.(2);
  const texts: string[] = [];
  for (const line of code.split("\n")) {
    const stream = new StringStream(line, 2, 2);
    while (!stream.eol()) {
      stream.start = stream.pos;
      if (mode.token(stream, state) === kind) texts.push(stream.current());
    }
  }
  return texts;
}

describe("grammars of computer algebra", () => {
  it.each<[Name, string, string[], string[]]>([
    ["gap", "for i in [1..3] do # it's\nPrint(\"x#\", 'c'); od;", ["for", "in", "do", "od"], ["# it's"]],
    ["gp", "f(x) = { /* a\nb */ if(x, forprime(p = 2, 9, print(p))); } \\\\ c", ["if", "forprime"], ["/*", " a", "b */", "\\\\ c"]],
    ["maxima", "block([a], if a then b;; c) /* d */", ["block", "if", "then"], ["/*", " d */"]],
    ["macaulay2", "for i from 1 to 3 do print i -- x\n-* a\nb *- s = /// -- no ///", ["for", "from", "to", "do"], ["-- x", "-*", " a", "b *-"]],
    ["singular", 'proc f(int n) { return(n); } // "x\n/* a */ poly p;', ["proc", "int", "return", "poly"], ['// "x', "/*", " a */"]],
  ])("colours keywords and comments of %s", (name, code, keywords, comments) => {
    expect(found(name, "keyword", code)).toEqual(keywords);
    expect(found(name, "comment", code)).toEqual(comments);
  });
});
