import { describe, expect, it } from "vitest";

import type { KernelMessage } from "../src/messages.js";
import { filesOf, sizeText } from "../src/session_files.js";
import { crc32, zipOf } from "../src/zip.js";

function message(told: unknown): KernelMessage {
  const content = { data: { "application/vnd.cell-appliance.files+json": told, "text/plain": "x" } };
  return { id: "", type: "display_data", parentId: "", content, metadata: {} };
}

describe("filesOf", () => {
  it("takes what is told, cleaned", () => {
    const listing = filesOf(
      message({
        files: [
          { name: "d/a\u202eb.txt", size: 2, type: "text/plain", data: "aGk=" },
          { name: "../../.x/<b>", size: "many", type: "text/html;x" },
          { name: "", size: -1, data: "no base64!" },
          5,
        ],
        more: 3,
      }),
    );
    expect(listing?.more).toBe(3);
    expect(listing?.files.map(({ name, size, type }) => [name, size, type])).toEqual([
      ["d/ab.txt", 2, "text/plain"],
      ["x/b", 0, "application/octet-stream"],
      ["file", 0, "application/octet-stream"],
    ]);
    expect(listing?.files.map(({ bytes }) => bytes && [...bytes])).toEqual([[104, 105], undefined, undefined]);
  });

  it("is undefined for other messages", () => {
    expect(filesOf(message("no object"))).toBeUndefined();
    expect(filesOf({ ...message({ files: [] }), type: "stream" })).toBeUndefined();
    expect(filesOf({ ...message({ files: [] }), content: {} })).toBeUndefined();
  });
});

describe("sizeText", () => {
  it.each([
    [0, "0 bytes"],
    [1, "1 byte"],
    [999, "999 bytes"],
    [40_400, "40 kB"],
    [3_210_000, "3.2 MB"],
  ])("of %d is %s", (bytes, text) => {
    expect(sizeText(bytes)).toBe(text);
  });
});

describe("zipOf", () => {
  it("has the checksums of the format", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });

  it("begins with a file and ends with the directory", async () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const view = new DataView(await zipOf([{ name: "ä", bytes }, { name: "b", bytes }]).arrayBuffer());
    expect(view.getUint32(0, true)).toBe(0x04034b50);
    const end = view.byteLength - 22;
    expect(view.getUint32(end, true)).toBe(0x06054b50);
    expect(view.getUint16(end + 10, true)).toBe(2);
    expect(view.getUint32(view.getUint32(end + 16, true), true)).toBe(0x02014b50);
  });
});
