import { describe, expect, it, vi } from "vitest";

import type { CellView } from "../src/cell_view.js";
import type { Phase } from "../src/evaluation.js";
import { Progress } from "../src/progress.js";
import { en } from "../src/strings/en.js";

describe("The place in line", () => {
  it("is told when it changes, and again when the evaluation comes to look busy", () => {
    const view = { showStatus: vi.fn(), announce: vi.fn() };
    let phase: Phase = "starting";
    const progress = new Progress(view as unknown as CellView, en, () => phase);
    expect(progress.showPlace()).toBe(false);
    progress.place(0);
    progress.place(0);
    expect(view.showStatus.mock.calls).toEqual([["Waiting for a free kernel: you are next"]]);
    expect(progress.showPlace()).toBe(true);
    expect(view.showStatus).toHaveBeenCalledTimes(2);
    expect(view.announce).toHaveBeenLastCalledWith("Waiting for a free kernel: you are next.");
    phase = "running";
    expect(progress.showPlace()).toBe(false);
  });
});
