import { describe, expect, it, vi } from "vitest";

import type { Ending, Kernel } from "../src/kernel.js";
import { executeRequest } from "../src/messages.js";
import { ANY_KERNEL, Server, ServerError } from "../src/server.js";
import type { Patience } from "../src/server.js";
import { FreshSession, LinkedSession } from "../src/session.js";
import type { SharedCell } from "../src/sharing.js";
import type { StartKernel, Waiting } from "../src/session.js";

const server = new Server("http://cell.example/");

/** A kernel of which only what sessions use is there. */
class FakeKernel {
  ending: Ending | undefined;
  readonly watchers: ((ending: Ending) => void)[] = [];
  readonly end = vi.fn((): Promise<void> => Promise.resolve());

  watch(watcher: (ending: Ending) => void): void {
    this.watchers.push(watcher);
  }

  die(ending: Ending): void {
    this.ending = ending;
    for (const watcher of this.watchers) watcher(ending);
  }
}

function starter(...kernels: FakeKernel[]): (server: Server, timeout: number) => Promise<Kernel> {
  return vi.fn(() => {
    const kernel = kernels.shift();
    return kernel ? Promise.resolve(kernel as unknown as Kernel) : Promise.reject(new ServerError("All are in use.", 503));
  });
}

/** A cell that nobody shares. */
const cell = { place: {}, code: "", language: "python", outputs: [], interacts: [] } as unknown as SharedCell;

describe("FreshSession", () => {
  it("starts the next kernel only when the server let go of the last", async () => {
    const [first, second] = [new FakeKernel(), new FakeKernel()];
    let letGo: () => void = () => undefined;
    first.end.mockReturnValue(
      new Promise((resolve) => {
        letGo = resolve;
      }),
    );
    const start = starter(first, second);
    const session = new FreshSession(server, start);
    await session.open();
    const opening = session.open();
    await Promise.resolve();
    await Promise.resolve();
    expect(first.end).toHaveBeenCalledOnce();
    expect(start).toHaveBeenCalledTimes(1);
    letGo();
    expect(await opening).toBe(second);
    expect(start).toHaveBeenLastCalledWith(server, 0, expect.anything());
  });

  it("ends a kernel that came after nobody wanted it any more", async () => {
    const kernel = new FakeKernel();
    const session = new FreshSession(server, starter(kernel));
    const opening = session.open();
    session.leave();
    await opening;
    await vi.waitFor(() => {
      expect(kernel.end).toHaveBeenCalledOnce();
    });
  });

  it("can be tried again after a refusal", async () => {
    const kernels: FakeKernel[] = [];
    const session = new FreshSession(server, () => {
      const kernel = kernels.shift();
      return kernel ? Promise.resolve(kernel as unknown as Kernel) : Promise.reject(new ServerError("No.", 503));
    });
    await expect(session.open()).rejects.toThrow("No.");
    const kernel = new FakeKernel();
    kernels.push(kernel);
    expect(await session.open()).toBe(kernel);
  });
});

/** Return what starts kernels that never come, and what it was given. */
function endless(): { start: StartKernel; patience: Patience[] } {
  const patience: Patience[] = [];
  const start: StartKernel = (_server, _timeout, given) => {
    patience.push(given);
    return new Promise((_resolve, reject) => {
      given.signal.addEventListener("abort", () => {
        reject(new ServerError("Stopped."));
      });
    });
  };
  return { start, patience };
}

describe("A session that waits in line", () => {
  it("gives its place back when a cell of its own stops, and another time asks anew", async () => {
    const { start, patience } = endless();
    const session = new FreshSession(server, start);
    const places: number[] = [];
    const opening = session.open((before) => places.push(before));
    await vi.waitFor(() => {
      expect(patience).toHaveLength(1);
    });
    patience[0]?.waiting(3);
    expect(places).toEqual([3]);
    session.leave();
    await expect(opening).rejects.toThrow("Stopped.");
    void session.open().catch(() => undefined);
    await vi.waitFor(() => {
      expect(patience.map((one) => one.signal.aborted)).toEqual([true, false]);
    });
  });

  it("tells every linked cell and goes on until the last of them has gone", async () => {
    const { start, patience } = endless();
    const session = new LinkedSession(server, start);
    const leaves = [session.join(() => undefined, cell), session.join(() => undefined, cell)];
    const places: string[] = [];
    const openings = ["one", "two"].map((name) => session.open((before) => places.push(`${name} ${before}`)));
    patience[0]?.waiting(1);
    expect(places).toEqual(["one 1", "two 1"]);
    expect(patience).toHaveLength(1);
    leaves[0]?.();
    expect(patience[0]?.signal.aborted).toBe(false);
    leaves[1]?.();
    for (const opening of openings) await expect(opening).rejects.toThrow("Stopped.");
  });
});

describe("A linked cell that stops waiting", () => {
  const noted = (name: string, places: string[]): Waiting => (before) => places.push(`${name} ${before}`);
  const request = executeRequest("session", "1");

  it("gives the place back when it is the only one that waits, and asks anew another time", async () => {
    const { start, patience } = endless();
    const session = new LinkedSession(server, start);
    session.join(() => undefined, cell);
    const [first, second] = [noted("first", []), noted("second", [])];
    const opening = session.open(first, ANY_KERNEL, request);
    session.withdraw(first);
    expect(session.running).toBeUndefined();
    const again = session.open(second, ANY_KERNEL, request);
    await expect(opening).rejects.toThrow("Stopped.");
    expect(patience.map((one) => one.signal.aborted)).toEqual([true, false]);
    expect(session.running).toBe(again);
  });

  it("takes its code along, and the others wait on without it", async () => {
    const { start, patience } = endless();
    const session = new LinkedSession(server, start);
    session.join(() => undefined, cell);
    const places: string[] = [];
    const [first, second] = [noted("first", places), noted("second", places)];
    void session.open(first, ANY_KERNEL, request);
    const opening = session.open(second);
    session.withdraw(first);
    await vi.waitFor(() => {
      expect(patience).toHaveLength(2);
    });
    expect(patience.map((one) => [one.signal.aborted, one.requests])).toEqual([
      [true, [request]],
      [false, []],
    ]);
    patience[1]?.waiting(2);
    expect(places).toEqual(["second 2"]);
    session.withdraw(second);
    await expect(opening).rejects.toThrow("Stopped.");
    expect(patience).toHaveLength(2);
  });

  it("leaves the line as it is when only another's code went along", () => {
    const { start, patience } = endless();
    const session = new LinkedSession(server, start);
    const [first, second] = [noted("first", []), noted("second", [])];
    void session.open(first, ANY_KERNEL, request);
    void session.open(second);
    session.withdraw(second);
    expect(patience.map((one) => one.signal.aborted)).toEqual([false]);
  });

  it("has a kernel ended that came too late, and none that is there", async () => {
    const [late, kernel] = [new FakeKernel(), new FakeKernel()];
    const session = new LinkedSession(server, starter(late, kernel));
    session.join(() => undefined, cell);
    const [first, second] = [noted("first", []), noted("second", [])];
    void session.open(first, ANY_KERNEL, request);
    const opening = session.open(second);
    session.withdraw(first);
    expect(await opening).toBe(kernel);
    expect(late.end).toHaveBeenCalledOnce();
    session.withdraw(second);
    expect(kernel.end).not.toHaveBeenCalled();
    expect(await session.running).toBe(kernel);
  });
});

describe("LinkedSession", () => {
  it("shares one kernel without an idle limit of its own", async () => {
    const kernel = new FakeKernel();
    const start = starter(kernel);
    const session = new LinkedSession(server, start);
    const [one, two] = await Promise.all([session.open(), session.open()]);
    expect(one).toBe(two);
    expect(start).toHaveBeenCalledExactlyOnceWith(server, Infinity, expect.anything());
  });

  it("tells all cells when the kernel ends, and starts a new one for the next evaluation", async () => {
    const [first, second] = [new FakeKernel(), new FakeKernel()];
    const session = new LinkedSession(server, starter(first, second));
    const lost = vi.fn();
    session.join(lost, cell);
    await session.open();
    const ending = { reason: "idle", sentence: "It was idle." };
    first.die(ending);
    expect(lost).toHaveBeenCalledExactlyOnceWith(ending);
    expect(await session.open()).toBe(second);
  });

  it("ends its kernel when the last cell goes", async () => {
    const kernel = new FakeKernel();
    const session = new LinkedSession(server, starter(kernel));
    const leaveFirst = session.join(() => undefined, cell);
    const leaveSecond = session.join(() => undefined, cell);
    await session.open();
    leaveFirst();
    await Promise.resolve();
    expect(kernel.end).not.toHaveBeenCalled();
    leaveSecond();
    await Promise.resolve();
    expect(kernel.end).toHaveBeenCalledOnce();
  });
});
