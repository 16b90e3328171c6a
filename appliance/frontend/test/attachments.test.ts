import { describe, expect, it } from "vitest";

import { Attachments, MAX_FILES } from "../src/attachments.js";
import type { Bring, Destination, NamedFile } from "../src/attachments.js";
import { attachedName } from "../src/attachments_panel.js";
import { Server, ServerError, uploadLimitsOf } from "../src/server.js";

const SERVER = new Server("https://cells.test/");
const fits = (): undefined => undefined;

function kernel(id: string): Destination {
  return { id };
}

function file(name: string, text = "x"): NamedFile {
  return { name, file: new Blob([text]) };
}

function states(attachments: Attachments): string[] {
  return attachments.list.map(({ name, progress }) => `${name} ${progress.state}`);
}

/** Attachments, and what was sent; `failing`: names that are refused. */
function world(failing = new Set<string>()): { attachments: Attachments; sent: string[] } {
  const sent: string[] = [];
  const send: Bring = (_, id, { name }, progress) => {
    progress(50);
    sent.push(`${id} ${name}`);
    return failing.has(name) ? Promise.reject(new ServerError("no", 503)) : Promise.resolve();
  };
  return { attachments: new Attachments(SERVER, send), sent };
}

describe("Attachments", () => {
  it("bring every kernel each file once", async () => {
    const { attachments, sent } = world();
    attachments.add([file("a"), file("d/b")], fits);
    expect(states(attachments)).toEqual(["a waiting", "d/b waiting"]);
    const one = kernel("1");
    await attachments.bringTo(one);
    await attachments.bringTo(one);
    attachments.add([file("c")], fits);
    await attachments.bringTo(one);
    expect(states(attachments)).toEqual(["a there", "d/b there", "c there"]);
    await attachments.bringTo(kernel("2"));
    expect(sent).toEqual(["1 a", "1 d/b", "1 c", "2 a", "2 d/b", "2 c"]);
  });

  it("take a file in the place of one of the same name", async () => {
    const { attachments, sent } = world();
    const one = kernel("1");
    attachments.add([file("a")], fits);
    await attachments.bringTo(one);
    attachments.add([file("a", "changed")], fits);
    expect(states(attachments)).toEqual(["a waiting"]);
    await attachments.bringTo(one);
    expect(sent).toEqual(["1 a", "1 a"]);
  });

  it("tell of what fails when the others are there, and try it again with the next evaluation", async () => {
    const failing = new Set(["b"]);
    const { attachments, sent } = world(failing);
    attachments.add([file("a"), file("b"), file("c")], fits);
    await expect(attachments.bringTo(kernel("1"))).rejects.toThrow("no");
    expect(states(attachments)).toEqual(["a there", "b failed", "c there"]);
    failing.clear();
    await attachments.bringTo(kernel("2"));
    expect(sent).toEqual(["1 a", "1 b", "1 c", "2 a", "2 b", "2 c"]);
  });

  it("leave out what the page knows to be too large", async () => {
    const { attachments, sent } = world();
    attachments.add([file("a"), file("large")], ({ name }, others) => {
      expect(others.map((other) => other.name)).toEqual(name === "a" ? [] : ["a"]);
      return name === "large" ? new ServerError("too large", 413) : undefined;
    });
    expect(states(attachments)).toEqual(["a waiting", "large failed"]);
    await attachments.bringTo(kernel("1"));
    expect(sent).toEqual(["1 a"]);
    const [, large] = attachments.list;
    if (large) attachments.remove(large);
    expect(states(attachments)).toEqual(["a there"]);
  });

  it("ask for no more when the evaluation was given up, and take no more than so many", async () => {
    const { attachments, sent } = world();
    const many = Array.from({ length: MAX_FILES + 3 }, (_, number) => file(`f${number}`));
    expect(attachments.add(many, fits)).toBe(3);
    await attachments.bringTo(kernel("1"), () => sent.length < 2);
    expect(sent).toEqual(["1 f0", "1 f1"]);
    expect(attachments.some).toBe(true);
  });

  it("tell of each change", async () => {
    const { attachments } = world();
    const seen: string[] = [];
    const stop = attachments.watch(() => seen.push(states(attachments).join()));
    attachments.add([file("a")], fits);
    await attachments.bringTo(kernel("1"));
    stop();
    attachments.add([file("b")], fits);
    expect(seen).toEqual(["a waiting", "a coming", "a coming", "a there"]);
  });
});

describe("attachedName", () => {
  it.each([
    ["a.csv", "a.csv"],
    ["/folder/sub/ü b.txt", "folder/sub/ü b.txt"],
    ["../../x", "x"],
    ["a\u0000b\u202ec\n", "a_b_c_"],
    ["", "file"],
  ])("of %j", (path, name) => {
    expect(attachedName(path)).toBe(name);
  });
});

describe("uploadLimitsOf", () => {
  it("takes two numbers", () => {
    expect(uploadLimitsOf({ uploads: { max_file_bytes: 5, max_kernel_bytes: 9 } })).toEqual({ file: 5, kernel: 9 });
    expect(uploadLimitsOf({ uploads: { max_file_bytes: "many" } })).toBeUndefined();
    expect(uploadLimitsOf({ environments: [] })).toBeUndefined();
    expect(uploadLimitsOf(null)).toBeUndefined();
  });
});
