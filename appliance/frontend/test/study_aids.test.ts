import { describe, expect, it } from "vitest";

import { conversionOf, converted } from "../src/conversion.js";
import { ruleOf, ruled, toldOf } from "../src/explanation.js";
import { executeRequest } from "../src/messages.js";
import type { Json, KernelMessage } from "../src/messages.js";
import { variablesOf } from "../src/variables.js";

function display(kind: string, told: unknown): KernelMessage {
  const data: Json = { [`application/vnd.cell-appliance.${kind}+json`]: told, "text/plain": "" };
  return { id: "1", type: "display_data", parentId: "0", content: { data }, metadata: {} };
}

const OTHER: KernelMessage = { id: "1", type: "display_data", parentId: "0", content: { data: { "text/plain": "a" } }, metadata: {} };

describe("conversionOf", () => {
  it("reads edits in their order", () => {
    const message = display("conversion", { edits: [[0, 1, ["print(1)"]], [2, 2, ["a", "b"]]], division: true });
    expect(conversionOf(message)).toEqual({
      edits: [
        { start: 0, end: 1, lines: ["print(1)"] },
        { start: 2, end: 2, lines: ["a", "b"] },
      ],
      division: true,
    });
  });

  it.each([
    [{}],
    [{ edits: [] }],
    [{ edits: "all" }],
    [{ edits: [[1, 0, []]] }],
    [{ edits: [[-1, 0, []]] }],
    [{ edits: [[0.5, 1, []]] }],
    [{ edits: [[0, 1, [5]]] }],
    [{ edits: [[0, 2, []], [1, 3, []]] }],
    [{ edits: [[0, 1, ["a"]], null] }],
  ])("offers nothing for %j", (told) => {
    expect(conversionOf(display("conversion", told))).toBeUndefined();
  });

  it("is not for other messages", () => {
    expect(conversionOf(OTHER)).toBeUndefined();
  });
});

describe("converted", () => {
  it("changes, inserts and removes lines", () => {
    const edits = [
      { start: 0, end: 1, lines: ["A", "A2"] },
      { start: 2, end: 2, lines: ["before c"] },
      { start: 3, end: 4, lines: [] },
    ];
    expect(converted("a\nb\nc\nd\ne", edits)).toBe("A\nA2\nb\nbefore c\nc\ne");
  });
});

describe("explanations", () => {
  const error = { name: "NameError", message: "name 'x' is not defined", code: "x" };

  it("of an author are for a class and a message", () => {
    const rules = [
      ruleOf("NameError", "", "of any name"),
      ruleOf("NameError", "'(x|y)'", "of x and y"),
      ruleOf("ValueError", "", "of values"),
      ruleOf("", "not defined", "of anything"),
      ruleOf("NameError", "'z'", "of z"),
    ];
    expect(ruled(rules, error)).toEqual(["of any name", "of x and y", "of anything"]);
  });

  it("match what is no regular expression as it stands", () => {
    expect(ruled([ruleOf("", "f(", "call")], { ...error, message: "f( was never closed" })).toEqual(["call"]);
    expect(ruled([ruleOf("", "f(", "call")], error)).toEqual([]);
  });

  it("of a kernel go from the particular to the general", () => {
    const told = toldOf(display("explanation", { generic: "g", cause: "c", suggest: "s", language: "fr" }));
    expect(told).toEqual({ paragraphs: ["s", "c", "g"], language: "fr" });
    expect(toldOf(display("explanation", { generic: "g", cause: 5, language: "'><" }))).toEqual({ paragraphs: ["g"], language: "en" });
    expect(toldOf(OTHER)).toBeUndefined();
  });
});

describe("variablesOf", () => {
  it("shortens what is long and counts the rest", () => {
    const one = { name: "n".repeat(999), type: "int", size: "", value: "5" };
    const list = variablesOf(display("variables", { variables: [one, "no variable", { name: "m" }], more: 3 }));
    expect(list?.variables.map(({ name, value }) => [name.length, value])).toEqual([
      [200, "5"],
      [1, ""],
    ]);
    expect(list?.more).toBe(3);
    expect(variablesOf(display("variables", { variables: Array(999).fill(one) }))?.variables).toHaveLength(200);
    expect(variablesOf(display("variables", { variables: [], more: "many" }))?.more).toBe(0);
    expect(variablesOf(OTHER)).toBeUndefined();
  });
});

describe("executeRequest", () => {
  it("asks for what helps in its metadata, and silently where nothing is to run", () => {
    const { content, metadata } = executeRequest("s", "", { silent: true, aids: { variables: true } });
    expect(content).toMatchObject({ silent: true, user_expressions: {}, allow_stdin: false });
    expect(metadata).toEqual({ widgets: true, variables: true });
    expect(executeRequest("s", "1").metadata).toEqual({ widgets: true });
  });
});
