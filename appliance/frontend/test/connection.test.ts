import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { closeQuietly } from "../src/connection.js";

class FakeSocket extends EventTarget {
  readonly close = vi.fn();

  constructor(public readyState: number) {
    super();
  }
}

describe("closeQuietly", () => {
  beforeEach(() => {
    vi.stubGlobal("WebSocket", { CONNECTING: 0, OPEN: 1 });
  });

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("closes an open socket at once", () => {
    const socket = new FakeSocket(WebSocket.OPEN);
    closeQuietly(socket as unknown as WebSocket);
    expect(socket.close).toHaveBeenCalledOnce();
  });

  it("closes one that is being connected when it is", () => {
    const socket = new FakeSocket(WebSocket.CONNECTING);
    closeQuietly(socket as unknown as WebSocket);
    expect(socket.close).not.toHaveBeenCalled();
    socket.dispatchEvent(new Event("open"));
    expect(socket.close).toHaveBeenCalledOnce();
  });
});
