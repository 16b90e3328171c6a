/**
 * One evaluation at a time, as a state machine: what a click, a message or a timer means in each phase.
 *
 *   idle ─evaluate→ starting ─leased→ running ─reply and idle→ idle
 *                                     running ─stop→ interrupting ─ignored→ stubborn ─end→ ending ─dead→ idle
 *
 * It decides and does nothing: the cell performs the effects.
 */

import type { Ending } from "./kernel.js";

export type Phase = "idle" | "starting" | "running" | "interrupting" | "stubborn" | "ending";

export interface Reply {
  /** "aborted": the kernel left the code out, since what it ran before had failed (Jupyter messaging, "Request-Reply"). */
  readonly status: "ok" | "error" | "aborted";
  readonly ename: string;
  readonly evalue: string;
}

export interface Evaluation {
  readonly phase: Phase;
  /** The `execute_reply`, once it came. */
  readonly reply: Reply | undefined;
  /** Whether the kernel said that it is idle again; before the reply or after it. */
  readonly settled: boolean;
}

export type Happening =
  | { readonly type: "evaluate" }
  | { readonly type: "leased" }
  | { readonly type: "failed"; readonly error: Error }
  | { readonly type: "reply"; readonly reply: Reply }
  | { readonly type: "settled" }
  | { readonly type: "stop" }
  | { readonly type: "interruptIgnored" }
  | { readonly type: "ended"; readonly ending: Ending };

export type Outcome =
  | { readonly type: "ok" }
  | { readonly type: "error"; readonly reply: Reply }
  | { readonly type: "interrupted" }
  | { readonly type: "aborted" }
  | { readonly type: "cancelled" }
  | { readonly type: "ended"; readonly ending: Ending }
  | { readonly type: "failed"; readonly error: Error };

export type Effect =
  | { readonly type: "abandon" }
  | { readonly type: "lease" }
  | { readonly type: "execute" }
  | { readonly type: "interrupt" }
  | { readonly type: "endKernel" }
  | { readonly type: "finish"; readonly outcome: Outcome };

export interface Step {
  readonly next: Evaluation;
  readonly effects: readonly Effect[];
}

export const IDLE: Evaluation = { phase: "idle", reply: undefined, settled: false };

/** Name of the exception that the server's reply carries when the kernel died under an evaluation. */
const KERNEL_DIED = "KernelDied";

function to(phase: Phase, ...effects: Effect[]): Step {
  return { next: { phase, reply: undefined, settled: false }, effects };
}

function stay(state: Evaluation): Step {
  return { next: state, effects: [] };
}

function finish(outcome: Outcome): Step {
  return to("idle", { type: "finish", outcome });
}

function outcomeOf(reply: Reply, phase: Phase): Outcome {
  if (reply.status === "ok") return { type: "ok" };
  const aborted = reply.status === "aborted";
  if (phase !== "running" && (aborted || reply.ename === "KeyboardInterrupt")) return { type: "interrupted" };
  if (aborted) return { type: "aborted" };
  return { type: "error", reply };
}

/** The kernel answers a request twice, in either order: `execute_reply`, and `idle`. */
function answered(state: Evaluation): Step {
  const { reply, settled, phase } = state;
  // After the reply of a dead kernel comes the `dead` status with the code of the reason; that one finishes.
  if (!reply || !settled || reply.ename === KERNEL_DIED) return stay(state);
  return finish(outcomeOf(reply, phase));
}

function endedOutcome({ reply, phase }: Evaluation, ending: Ending): Outcome {
  if (!reply) return { type: "ended", ending };
  if (reply.ename !== KERNEL_DIED) return outcomeOf(reply, phase);
  return { type: "ended", ending: ending.reason === "lost" ? { ...ending, sentence: reply.evalue } : ending };
}

/** Return what `happening` makes of `state`, and what is to be done. */
export function step(state: Evaluation, happening: Happening): Step {
  if (happening.type === "evaluate") {
    return state.phase === "idle"
      ? to("starting", { type: "lease" })
      : to("starting", { type: "abandon" }, { type: "lease" });
  }
  if (state.phase === "idle") return stay(state);
  switch (happening.type) {
    case "leased":
      return state.phase === "starting" ? to("running", { type: "execute" }) : stay(state);
    case "failed":
      return finish({ type: "failed", error: happening.error });
    case "reply":
      return answered({ ...state, reply: happening.reply });
    case "settled":
      return answered({ ...state, settled: true });
    case "ended":
      return finish(endedOutcome(state, happening.ending));
    case "interruptIgnored":
      return stay(state.phase === "interrupting" ? { ...state, phase: "stubborn" } : state);
    case "stop":
      switch (state.phase) {
        case "starting":
          return to("idle", { type: "abandon" }, { type: "finish", outcome: { type: "cancelled" } });
        case "running":
          return { next: { ...state, phase: "interrupting" }, effects: [{ type: "interrupt" }] };
        case "stubborn":
          return { next: { ...state, phase: "ending" }, effects: [{ type: "endKernel" }] };
        case "interrupting":
        case "ending":
          return stay(state);
      }
  }
}
