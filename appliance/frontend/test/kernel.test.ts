import { describe, expect, it } from "vitest";

import { Router, endingOf } from "../src/kernel.js";
import type { Ending } from "../src/kernel.js";
import { executeRequest, interruptRequest, parseMessage } from "../src/messages.js";
import type { KernelMessage } from "../src/messages.js";

function message(parentId: string, type = "stream"): KernelMessage {
  return { id: "", type, parentId, content: {}, metadata: {} };
}

class Recorder {
  readonly heard: string[] = [];

  message(heard: KernelMessage): void {
    this.heard.push(heard.type);
  }

  ended(ending: Ending): void {
    this.heard.push(ending.reason);
  }
}

describe("parseMessage", () => {
  it("takes the type and the request it belongs to", () => {
    const frame = {
      channel: "iopub",
      header: { msg_type: "stream", msg_id: "b" },
      parent_header: { msg_id: "a" },
      content: { name: "stdout", text: "hi" },
    };
    expect(parseMessage(JSON.stringify(frame))).toEqual({
      id: "b",
      type: "stream",
      parentId: "a",
      content: { name: "stdout", text: "hi" },
      metadata: {},
    });
  });

  it("accepts a dead status, which has no parent", () => {
    const frame = { header: { msg_type: "status" }, parent_header: {}, content: { execution_state: "dead" } };
    expect(parseMessage(JSON.stringify(frame))?.parentId).toBe("");
  });

  it.each([["not JSON"], ["null"], ["[]"], ['"text"'], ["{}"], ['{"header": {}}'], [new ArrayBuffer(4)]])(
    "refuses what is not a message: %s",
    (frame) => {
      expect(parseMessage(frame)).toBeUndefined();
    },
  );
});

describe("requests", () => {
  it("ask for execution on the shell channel", () => {
    const request = executeRequest("s", "1+1");
    expect(request.channel).toBe("shell");
    expect(request.header.msg_id).toMatch(/^[0-9a-f]{32}$/);
    expect(request.content).toMatchObject({ code: "1+1", silent: false, store_history: false, allow_stdin: true });
    expect(request.content.user_expressions).toEqual({ _sagecell_files: "sys._sage_.new_files()" });
  });

  it("ask for an interrupt on the control channel", () => {
    expect(interruptRequest("s")).toMatchObject({ channel: "control", header: { msg_type: "interrupt_request" } });
  });
});

describe("Router", () => {
  it("tells only the one who asked", () => {
    const router = new Router();
    const [first, second] = [new Recorder(), new Recorder()];
    router.add("1", first);
    router.add("2", second);
    router.route(message("2"));
    router.route(message("unknown"));
    router.route(message(""));
    expect([first.heard, second.heard]).toEqual([[], ["stream"]]);
  });

  it("tells those who stopped listening nothing", () => {
    const router = new Router();
    const listener = new Recorder();
    router.add("1", listener);
    router.remove("1");
    router.route(message("1"));
    router.end({ reason: "crashed", sentence: "" });
    expect(listener.heard).toEqual([]);
  });

  it("tells everyone the end once", () => {
    const router = new Router();
    const listener = new Recorder();
    router.add("1", listener);
    router.end({ reason: "crashed", sentence: "" });
    router.end({ reason: "lost", sentence: "" });
    expect(listener.heard).toEqual(["crashed"]);
  });

  it("forgets the oldest of very many messages of widgets, and no evaluation", () => {
    const router = new Router();
    const [evaluation, oldest] = [new Recorder(), new Recorder()];
    router.add("evaluation", evaluation);
    router.addOfWidget("oldest", oldest);
    for (let number = 0; number < 256; number += 1) router.addOfWidget(String(number), new Recorder());
    router.route(message("oldest"));
    router.route(message("evaluation"));
    expect([oldest.heard, evaluation.heard]).toEqual([[], ["stream"]]);
  });

  it("tells widgets the end as well", () => {
    const router = new Router();
    const listener = new Recorder();
    router.addOfWidget("1", listener);
    router.route(message("1"));
    router.end({ reason: "crashed", sentence: "" });
    expect(listener.heard).toEqual(["stream", "crashed"]);
    expect(router.has("1")).toBe(false);
  });
});

describe("endingOf", () => {
  it("reads the reason and its sentence", () => {
    const content = { execution_state: "dead", reason: "idle", message: "It was idle." };
    expect(endingOf({ id: "", type: "status", parentId: "", content, metadata: {} })).toEqual({
      reason: "idle",
      sentence: "It was idle.",
    });
  });

  it("says so when there is none", () => {
    const dead = { id: "", type: "status", parentId: "", content: { execution_state: "dead" }, metadata: {} };
    expect(endingOf(dead)?.sentence).toContain("no reason");
  });

  it("is undefined for other messages", () => {
    expect(endingOf({ id: "", type: "status", parentId: "", content: { execution_state: "idle" }, metadata: {} })).toBeUndefined();
  });
});
