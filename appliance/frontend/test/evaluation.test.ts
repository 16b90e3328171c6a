import { describe, expect, it } from "vitest";

import { IDLE, step } from "../src/evaluation.js";
import type { Evaluation, Happening, Reply } from "../src/evaluation.js";

const OK: Reply = { status: "ok", ename: "", evalue: "" };
const ERROR: Reply = { status: "error", ename: "NameError", evalue: "name 'x' is not defined" };
const INTERRUPTED: Reply = { status: "error", ename: "KeyboardInterrupt", evalue: "" };
const ABORTED: Reply = { status: "aborted", ename: "", evalue: "" };
const DIED: Reply = { status: "error", ename: "KernelDied", evalue: "The kernel crashed." };
const CRASH = { reason: "crashed", sentence: "The kernel crashed." };

function play(...happenings: Happening[]): { state: Evaluation; effects: unknown[] } {
  let state = IDLE;
  const effects: unknown[] = [];
  for (const happening of happenings) {
    const result = step(state, happening);
    state = result.next;
    effects.push(...result.effects);
  }
  return { state, effects };
}

const RUN: Happening[] = [{ type: "evaluate" }, { type: "leased" }];

describe("an evaluation", () => {
  it.each([
    [{ type: "reply", reply: OK }, { type: "settled" }],
    [{ type: "settled" }, { type: "reply", reply: OK }],
  ] as Happening[][])("ends after reply and idle in either order", (...ends) => {
    const half = play(...RUN, ...ends.slice(0, 1));
    expect(half.state.phase).toBe("running");
    const { state, effects } = play(...RUN, ...ends);
    expect(state).toEqual(IDLE);
    expect(effects).toEqual([{ type: "lease" }, { type: "execute" }, { type: "finish", outcome: { type: "ok" } }]);
  });

  it("ends with the exception of the code", () => {
    const { effects } = play(...RUN, { type: "reply", reply: ERROR }, { type: "settled" });
    expect(effects.at(-1)).toEqual({ type: "finish", outcome: { type: "error", reply: ERROR } });
  });

  it("is told from an error when the kernel left it out", () => {
    const ends: Happening[] = [{ type: "reply", reply: ABORTED }, { type: "settled" }];
    expect(play(...RUN, ...ends).effects.at(-1)).toEqual({ type: "finish", outcome: { type: "aborted" } });
    expect(play(...RUN, { type: "stop" }, ...ends).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "interrupted" },
    });
  });

  it("says why no kernel could be had", () => {
    const error = new Error("All kernels are in use.");
    expect(play({ type: "evaluate" }, { type: "failed", error }).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "failed", error },
    });
  });

  it("lets go of the kernel it has when started again", () => {
    const { state, effects } = play(...RUN, { type: "evaluate" });
    expect(state.phase).toBe("starting");
    expect(effects.slice(2)).toEqual([{ type: "abandon" }, { type: "lease" }]);
  });
});

describe("Stop", () => {
  it("cancels a start", () => {
    const { state, effects } = play({ type: "evaluate" }, { type: "stop" });
    expect(state).toEqual(IDLE);
    expect(effects.slice(1)).toEqual([{ type: "abandon" }, { type: "finish", outcome: { type: "cancelled" } }]);
  });

  it("interrupts once, however often it is pressed", () => {
    const { state, effects } = play(...RUN, { type: "stop" }, { type: "stop" });
    expect(state.phase).toBe("interrupting");
    expect(effects.slice(2)).toEqual([{ type: "interrupt" }]);
  });

  it("is told from an exception that the code raised", () => {
    const ends: Happening[] = [{ type: "reply", reply: INTERRUPTED }, { type: "settled" }];
    expect(play(...RUN, { type: "stop" }, ...ends).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "interrupted" },
    });
    expect(play(...RUN, ...ends).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "error", reply: INTERRUPTED },
    });
  });

  it("ends the kernel when the interrupt was ignored", () => {
    const stopped = { reason: "stopped", sentence: "The kernel was stopped by you." };
    const { state, effects } = play(...RUN, { type: "stop" }, { type: "interruptIgnored" }, { type: "stop" });
    expect(state.phase).toBe("ending");
    expect(effects.at(-1)).toEqual({ type: "endKernel" });
    expect(step(state, { type: "ended", ending: stopped }).effects).toEqual([
      { type: "finish", outcome: { type: "ended", ending: stopped } },
    ]);
  });

  it("does not offer to end a kernel that reacted in time", () => {
    const { state } = play(...RUN, { type: "stop" }, { type: "reply", reply: OK }, { type: "settled" }, { type: "interruptIgnored" });
    expect(state).toEqual(IDLE);
  });
});

describe("the death of a kernel", () => {
  const replies: Happening[] = [{ type: "reply", reply: DIED }, { type: "settled" }];

  it("finishes with the reason of the dead status, which comes last", () => {
    expect(play(...RUN, ...replies).state.phase).toBe("running");
    expect(play(...RUN, ...replies, { type: "ended", ending: CRASH }).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "ended", ending: CRASH },
    });
  });

  it("is explained by the reply when the connection closed before the status came", () => {
    const lost = { reason: "lost", sentence: "The connection was lost." };
    expect(play(...RUN, ...replies, { type: "ended", ending: lost }).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "ended", ending: { reason: "lost", sentence: "The kernel crashed." } },
    });
  });

  it("does not undo an evaluation that had its reply", () => {
    const released = { reason: "released", sentence: "The computation is over." };
    expect(play(...RUN, { type: "reply", reply: OK }, { type: "ended", ending: released }).effects.at(-1)).toEqual({
      type: "finish",
      outcome: { type: "ok" },
    });
  });

  it("means nothing to a cell that runs nothing", () => {
    expect(step(IDLE, { type: "ended", ending: CRASH })).toEqual({ next: IDLE, effects: [] });
  });
});
