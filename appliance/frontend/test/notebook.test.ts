import { describe, expect, it } from "vitest";

import { Transcript, notebookOf, snippetOf } from "../src/notebook.js";

const display = { kind: "display", data: { "text/plain": "1", bad: {}, "application/json": { a: 1 } }, metadata: {} } as const;

describe("Transcript", () => {
  it("joins what is printed, and keeps the order", () => {
    const transcript = new Transcript();
    transcript.add({ kind: "stream", name: "stdout", text: "a" });
    transcript.add({ kind: "stream", name: "stdout", text: "b\n" });
    transcript.add({ kind: "stream", name: "stderr", text: "c" });
    transcript.add({ ...display, displayId: "" });
    transcript.add({ kind: "error", text: "Traceback\n\u001b[31mValueError\u001b[0m: no" });
    expect(transcript.list).toEqual([
      { output_type: "stream", name: "stdout", text: "ab\n" },
      { output_type: "stream", name: "stderr", text: "c" },
      { output_type: "display_data", data: { "text/plain": "1", "application/json": { a: 1 } }, metadata: {} },
      { output_type: "error", ename: "ValueError", evalue: "no", traceback: ["Traceback", "\u001b[31mValueError\u001b[0m: no"] },
    ]);
  });

  it("follows updates and clears", () => {
    const transcript = new Transcript();
    transcript.add({ ...display, displayId: "x" });
    transcript.add({ kind: "update", data: { "text/plain": "2" }, metadata: {}, displayId: "x" });
    expect(transcript.list[0]?.data).toEqual({ "text/plain": "2" });
    transcript.add({ kind: "clear", wait: true });
    expect(transcript.list).toHaveLength(1);
    transcript.add({ kind: "stream", name: "stdout", text: "new" });
    expect(transcript.list).toEqual([{ output_type: "stream", name: "stdout", text: "new" }]);
    transcript.add({ kind: "clear", wait: false });
    expect(transcript.list).toEqual([]);
  });

  it("leaves out what is too large", () => {
    const transcript = new Transcript();
    transcript.add({ kind: "stream", name: "stdout", text: "x".repeat(5_000_000) });
    expect(transcript.list).toEqual([]);
  });
});

describe("notebookOf", () => {
  it("is a notebook with a cell for each", () => {
    const cells = [{ code: "1 + 1", outputs: [] }, { code: "2", outputs: [{ output_type: "stream", name: "stdout", text: "2" }] }];
    const notebook = JSON.parse(notebookOf(cells, "sage")) as Record<string, unknown>;
    expect(notebook).toMatchObject({
      cells: [
        { cell_type: "code", source: "1 + 1", outputs: [] },
        { cell_type: "code", source: "2", outputs: [{ output_type: "stream", name: "stdout", text: "2" }] },
      ],
      metadata: { kernelspec: { name: "python" } },
      nbformat: 4,
    });
  });
});

describe("snippetOf", () => {
  it("cannot be ended by what the code holds", () => {
    const text = snippetOf("https://cell.example/", [{ code: 'print("</script><b>")', language: 'python"><x' }]);
    expect(text.match(/<\/script>/g)).toHaveLength(2);
    expect(text).toContain('language="pythonx"');
    const [, code = ""] = /json">(.*)<\/script><\/code-cell>/.exec(text) ?? [];
    expect(JSON.parse(code)).toBe('print("</script><b>")');
    expect(text).not.toContain("linked");
  });

  it("links several cells", () => {
    const text = snippetOf("https://cell.example/", [{ code: "a = 1", language: "python" }, { code: "a", language: "python" }]);
    expect(text.match(/<code-cell language="python" linked="">/g)).toHaveLength(2);
  });
});
