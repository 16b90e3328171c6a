import { describe, expect, it } from "vitest";

import { Server, failureOf, normalizeRoot, rootOfScript } from "../src/server.js";

describe("rootOfScript", () => {
  it.each([
    ["https://cell.example/static/embedded_cell.js", "https://cell.example/"],
    ["https://cell.example/embedded_sagecell.js", "https://cell.example/"],
    ["https://cell.example/base/static/embedded_cell.js?v=3", "https://cell.example/base/"],
    ["http://127.0.0.1:8888/static/embedded_cell.js#x", "http://127.0.0.1:8888/"],
  ])("of %s is %s", (src, root) => {
    expect(rootOfScript(src)).toBe(root);
  });
});

describe("normalizeRoot", () => {
  it.each([
    ["https://cell.example", "https://cell.example/"],
    ["/base", "https://page.example/base/"],
    ["https://cell.example/base/?q=1#x", "https://cell.example/base/"],
  ])("of %s is %s", (root, expected) => {
    expect(normalizeRoot(root, "https://page.example/a/b.html")).toBe(expected);
  });
});

describe("links", () => {
  const links = new Server("https://cell.example/base/").links({ zip: "eJwz0DQAAAP2AWI=", query: "ab/c?" }, "python");

  it("names the stored code by its id", () => {
    expect(links.stored).toBe("https://cell.example/base/?q=ab%2Fc%3F");
  });

  it("holds the code, padding and all", () => {
    expect(new URL(links.complete).searchParams.get("z")).toBe("eJwz0DQAAAP2AWI=");
    expect(new URL(links.complete).searchParams.get("lang")).toBe("python");
  });
});

describe("failureOf", () => {
  it("takes the server's sentence and its wait", () => {
    const failure = failureOf(503, '{"error": "pool_exhausted", "message": "All kernels are in use."}', "5");
    expect(failure.message).toBe("All kernels are in use.");
    expect(failure.retryAfterSeconds).toBe(5);
    expect(failure.temporary).toBe(true);
  });

  it.each([["<html>Bad gateway</html>"], ["null"], ['{"message": 7}'], [""]])("has a sentence of its own for %s", (body) => {
    expect(failureOf(502, body, null).message).toBe("The server refused the request (502).");
  });

  it.each([[null], [""], ["soon"], ["-1"], ["0"], ["Wed, 21 Oct 2026 07:28:00 GMT"]])("ignores the wait %s", (wait) => {
    expect(failureOf(503, "", wait).retryAfterSeconds).toBeUndefined();
  });

  it("does not offer to repeat what will be refused again", () => {
    expect(failureOf(413, '{"message": "Too large."}', null).temporary).toBe(false);
  });
});
