import { describe, expect, it } from "vitest";

import { TerminalText, withGraphics } from "../src/frame/ansi.js";
import type { Span } from "../src/frame/ansi.js";

/** Return everything a terminal shows after these chunks. */
function shown(...chunks: string[]): Span[] {
  const text = new TerminalText();
  const spans = chunks.flatMap((chunk) => text.write(chunk));
  return [...spans, ...text.current];
}

function plain(...chunks: string[]): string {
  return shown(...chunks)
    .map((span) => span.text)
    .join("");
}

describe("TerminalText", () => {
  it("finishes lines, and keeps the last one open", () => {
    const text = new TerminalText();
    expect(text.write("a\nb\nc")).toEqual([{ text: "a\nb\n", style: {} }]);
    expect(text.current).toEqual([{ text: "c", style: {} }]);
  });

  it("lets a carriage return overwrite the line", () => {
    expect(plain("10%\r20%\r30%")).toBe("30%");
    expect(plain("abcdef\r12")).toBe("12cdef");
    expect(plain("abc\r", "x", "\n", "y")).toBe("xbc\ny");
  });

  it("takes CR LF as one end of a line", () => {
    expect(plain("a\r\nb\r\n")).toBe("a\nb\n");
  });

  it("steps back and erases", () => {
    expect(plain("abc\b\bX")).toBe("aXc");
    expect(plain("\b\ba")).toBe("a");
    expect(plain("abcdef\r12\x1b[K")).toBe("12");
    expect(plain("abc\x1b[2Kx")).toBe("x");
  });

  it("colours what follows, over lines and chunks", () => {
    expect(shown("\x1b[31mred\n", "more\x1b[0m plain")).toEqual([
      { text: "red\n", style: { foreground: 1 } },
      { text: "more", style: { foreground: 1 } },
      { text: " plain", style: {} },
    ]);
  });

  it("keeps colours where text is overwritten in part", () => {
    expect(shown("\x1b[32mgreen\x1b[0m\rGR")).toEqual([
      { text: "GR", style: {} },
      { text: "een", style: { foreground: 2 } },
    ]);
  });

  it("joins an escape sequence that two chunks share", () => {
    expect(shown("a\x1b[3", "1mb")).toEqual([
      { text: "a", style: {} },
      { text: "b", style: { foreground: 1 } },
    ]);
  });

  it("shows nothing of sequences it does not know", () => {
    expect(plain("a\x1b[2J\x1b[5;5Hb\x1b]0;title\x07c\x1b(Bd")).toBe("abcd");
  });

  it.each([
    ["\x1bcHello", "Hello"],
    ["\x1b7a\x1b8b", "ab"],
    ["\x1b#8a\x1b%Gb", "ab"],
    ["\x1b[31\nHello", "[31\nHello"],
    ["\x1b[3é\x1b[1mb", "[3éb"],
    ["\x1b\nHello", "\nHello"],
    ["\x1béa", "éa"],
  ])("shows the text behind %j", (text, expected) => {
    expect(plain(text)).toBe(expected);
    expect(plain(...Array.from(text))).toBe(expected);
  });

  it.each([["\x1b"], ["\x1b[1;"], ["\x1b]0;title"], ["\x1b]0;title\x1b"], ["\x1b("]])("waits for the end of %j", (text) => {
    expect(plain(text)).toBe("");
  });

  it("gives up on an escape sequence without end", () => {
    const text = `\x1b]0;${"x".repeat(300)}`;
    expect(plain(text)).toBe(text.slice(1));
  });

  it("finishes a very long line before its end, so that it is not drawn again and again", () => {
    const text = new TerminalText();
    expect(text.write("x".repeat(5_000))).toEqual([{ text: "x".repeat(5_000), style: {} }]);
    expect(text.current).toEqual([]);
  });

  it("takes 100 000 lines at once", () => {
    const lines = Array.from({ length: 100_000 }, (_, number) => `${number}\n`).join("");
    expect(shown(lines)).toEqual([{ text: lines, style: {} }]);
  });
});

describe("withGraphics", () => {
  it.each([
    [[1, 31], { bold: true, foreground: 1 }],
    [[94], { foreground: 12 }],
    [[41], { background: 1 }],
    [[103], { background: 11 }],
    [[38, 5, 9], { foreground: 9 }],
    [[38, 5, 196], { foreground: "rgb(255,0,0)" }],
    [[48, 5, 244], { background: "rgb(128,128,128)" }],
    [[38, 2, 1, 2, 3, 4], { foreground: "rgb(1,2,3)", underline: true }],
    [[38, 2, 999, 0, 0], { foreground: "rgb(255,0,0)" }],
    [[1, 0], {}],
    [[1, 22], {}],
    [[99], {}],
    [[38], {}],
  ])("%j", (parameters, style) => {
    expect(withGraphics({}, parameters)).toEqual(style);
  });
});
