/** What stands beside the buttons while an evaluation waits and runs: for how long, or its place in line. */

import type { CellView } from "./cell_view.js";
import type { Phase } from "./evaluation.js";
import type { Strings } from "./strings/catalogue.js";

const CLOCK_MILLISECONDS = 1_000;

export class Progress {
  private startedAt = 0;
  /** How many visitors are before this one while all kernels are taken. */
  private before: number | undefined;
  private connected = true;
  private clock: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly view: CellView,
    private readonly texts: Strings,
    private readonly phase: () => Phase,
  ) {}

  begin(): void {
    this.startedAt = performance.now();
    this.before = undefined;
    this.clock = setInterval(() => {
      this.show();
    }, CLOCK_MILLISECONDS);
  }

  end(): void {
    this.connected = true;
    clearInterval(this.clock);
  }

  /** Milliseconds since the beginning. */
  get elapsed(): number {
    return performance.now() - this.startedAt;
  }

  place(before: number): void {
    if (before === this.before) return;
    this.before = before;
    this.showPlace();
  }

  /** Show and say the place in line; returns whether there is one. */
  showPlace(): boolean {
    if (this.before === undefined || this.phase() !== "starting") return false;
    const text = this.texts.waiting(this.before);
    this.view.showStatus(text);
    this.view.announce(`${text}.`);
    return true;
  }

  connection(up: boolean): void {
    this.connected = up;
    if (!up) this.view.showStatus(this.texts.connectionLost);
    this.view.announce(up ? this.texts.connectedAgain : this.texts.connectionLost);
    if (up) this.show();
  }

  private show(): void {
    const phase = this.phase();
    if (!this.connected || (phase !== "running" && phase !== "starting")) return;
    if (phase === "starting" && this.before !== undefined) return;
    const words = phase === "running" ? this.texts.running : this.texts.starting;
    this.view.showStatus(`${words} · ${Math.round(this.elapsed / 1000)} s`);
  }
}
