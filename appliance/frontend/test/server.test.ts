import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Server, failureOf, normalizeRoot, placeOf, rootOfScript } from "../src/server.js";

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
  const links = new Server("https://cell.example/base/").links({ zip: "eJwz0DQAAAP2AWI=", query: "ab/c?", interacts: "" }, "python");

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

describe("placeOf", () => {
  it("reads a ticket", () => {
    expect(placeOf({ ticket: "a-1", place: 3, poll_seconds: 1.3 })).toEqual({ ticket: "a-1", before: 3, pollSeconds: 1.3 });
  });

  it.each([
    [{ id: "k", ws_url: "ws://cell.example/" }],
    [{ ticket: "../x", place: 1, poll_seconds: 1 }],
    [{ ticket: 7 }],
    [null],
    ["ticket"],
  ])("finds none in %j", (answer) => {
    expect(placeOf(answer)).toBeUndefined();
  });

  it.each([
    [{ ticket: "t" }, { before: 0, pollSeconds: 0.5 }],
    [{ ticket: "t", place: -2, poll_seconds: -1 }, { before: 0, pollSeconds: 0.5 }],
    [{ ticket: "t", place: "many", poll_seconds: 1e9 }, { before: 0, pollSeconds: 10 }],
  ])("bounds what %j says", (answer, expected) => {
    expect(placeOf(answer)).toMatchObject(expected);
  });
});

describe("environments", () => {
  const answers: (() => Promise<Response>)[] = [];
  const fetched = vi.fn(() => answers.shift()?.() ?? Promise.reject(new Error("not expected")));

  beforeEach(() => {
    vi.stubGlobal("fetch", fetched);
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("are asked for once, and again after a failure", async () => {
    const server = new Server("http://environments.example/");
    const sage = { name: "sage", title: "Sage", language: "sage" };
    answers.push(
      () => Promise.reject(new TypeError("Failed to fetch")),
      () => Promise.resolve(new Response("{}", { status: 503 })),
      () => Promise.resolve(new Response(JSON.stringify({ environments: [sage] }))),
    );
    await expect(server.environments()).rejects.toThrow("could not be reached");
    await expect(server.environments()).rejects.toThrow("busy");
    expect(await server.environments()).toEqual([sage]);
    expect(await server.environments()).toEqual([sage]);
    expect(fetched).toHaveBeenCalledTimes(3);
  });
});

describe("lease", () => {
  const KERNEL = { id: "k", ws_url: "ws://cell.example/" };
  const place = (before: number): unknown => ({ ticket: "t", place: before, poll_seconds: 1 });
  let requests: string[] = [];
  let answers: unknown[] = [];
  const server = new Server("http://cell.example/");

  beforeEach(() => {
    vi.useFakeTimers();
    requests = [];
    vi.stubGlobal("fetch", (address: string, init: RequestInit) => {
      requests.push(`${init.method ?? "GET"} ${address.replace(/CellSessionID=[^&]*&/, "")}`);
      const answer = init.method === "DELETE" ? {} : answers.shift();
      const refused = answer instanceof Error;
      const body = refused ? { message: answer.message } : answer;
      return Promise.resolve(new Response(JSON.stringify(body), { status: refused ? 404 : 200 }));
    });
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  function start(): { lease: Promise<unknown>; places: number[]; abort: AbortController } {
    const places: number[] = [];
    const abort = new AbortController();
    const lease = server.lease(Infinity, { waiting: (before) => places.push(before), signal: abort.signal });
    lease.catch(() => undefined);
    return { lease, places, abort };
  }

  it("asks again with its ticket until a kernel is there", async () => {
    answers = [place(1), place(0), KERNEL];
    const { lease, places } = start();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await lease).toEqual({ id: "k", channels: "ws://cell.example/kernel/k/channels" });
    expect(places).toEqual([1, 0]);
    expect(requests).toEqual([
      "POST http://cell.example/kernel?timeout=inf&accepted_tos=true&wait=1",
      "GET http://cell.example/kernel/ticket/t",
      "GET http://cell.example/kernel/ticket/t",
    ]);
  });

  it("gives its ticket back when it is stopped", async () => {
    answers = [place(1)];
    const { lease, abort } = start();
    await vi.advanceTimersByTimeAsync(100);
    abort.abort();
    await expect(lease).rejects.toThrow("was stopped");
    expect(requests.at(-1)).toBe("DELETE http://cell.example/kernel/ticket/t");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(requests).toHaveLength(2);
  });

  it("gives its ticket back when it was stopped before there was one", async () => {
    answers = [place(1)];
    const { lease, places, abort } = start();
    abort.abort();
    await expect(lease).rejects.toThrow("was stopped");
    expect(places).toEqual([]);
    expect(requests.at(-1)).toBe("DELETE http://cell.example/kernel/ticket/t");
  });

  it("says why the place was lost", async () => {
    answers = [place(0), new Error("The place in the line was given up.")];
    const { lease } = start();
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(lease).rejects.toThrow("The place in the line was given up.");
  });
});
