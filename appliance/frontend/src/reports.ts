/** What a cell tells its visitor beside its output: in words below it, and to screen readers. */

import type { CellView, Tone } from "./cell_view.js";
import type { Outcome } from "./evaluation.js";
import type { Ending } from "./kernel.js";
import type { OfferedFile } from "./output_items.js";
import { ServerError } from "./server.js";
import { save, sizeText } from "./session_files.js";
import { told } from "./strings/catalogue.js";
import type { Strings } from "./strings/catalogue.js";

/** How loud the end of a kernel is, by the server's code of the reason. */
const TONES: Readonly<Record<string, Tone>> = {
  released: "info",
  stopped: "info",
  idle: "info",
  lifetime: "info",
  memory_limit: "error",
  crashed: "error",
};

/** Return a duration as people say it: "40 ms", "1.4 s". */
function durationText(milliseconds: number): string {
  return milliseconds < 950 ? `${Math.ceil(milliseconds / 10) * 10} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

const AGES = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;

/** Return how long ago something was, in the largest unit that fits: "5 minutes ago". */
export function ageText(made: Date, now: Date, locale: string): string {
  const seconds = Math.max(0, (now.getTime() - made.getTime()) / 1000);
  const words = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const [unit, length] = AGES.find(([, length]) => seconds >= length) ?? (["second", 1] as const);
  return words.format(-Math.floor(seconds / length), unit);
}

export class Reports {
  constructor(
    private readonly view: CellView,
    private readonly texts: Strings,
  ) {}

  tell(tone: Tone, text: string): void {
    this.view.showNotice({ tone, text });
    this.view.announce(text);
  }

  /** A kernel ended; `consequence`: what that means for what is on the page. */
  ended(ending: Ending, consequence = "", tone = TONES[ending.reason] ?? "warning"): void {
    const why = told(this.texts.endings, ending.reason, ending.sentence);
    this.tell(tone, consequence === "" ? why : `${why} ${consequence}`);
  }

  failed(error: Error, again: () => void): void {
    const failure = error instanceof ServerError ? error : undefined;
    const wait = failure?.retryAfterSeconds;
    const advice = wait === undefined ? "" : ` ${this.texts.wait(wait)}`;
    const text = failure
      ? told(this.texts.errors, failure.code, failure.message) + advice
      : this.texts.broken(error.message);
    const action = failure?.temporary ? { action: { label: this.texts.tryAgain, run: again } } : {};
    this.view.showNotice({ tone: failure?.temporary ? "warning" : "error", text, ...action });
    this.view.announce(text);
  }

  /** A link in the output holds a file: the visitor decides. */
  offered(file: OfferedFile): void {
    const run = (): void => {
      this.view.showNotice(undefined);
      save(file.name, new Blob([file.bytes], { type: "application/octet-stream" }));
    };
    const text = this.texts.offers(file.name, sizeText(file.bytes.byteLength));
    this.view.showNotice({ tone: "info", text, action: { label: this.texts.save, run } });
    this.view.announce(text);
  }

  /** What is shown was made for an earlier visitor; `output`: what screen readers hear of it. */
  stored(made: Date, output: string, run: () => void): void {
    const { texts, view } = this;
    const time = new Intl.DateTimeFormat(texts.locale, { dateStyle: "medium", timeStyle: "short" }).format(made);
    const text = texts.stored(time, ageText(made, new Date(), texts.locale));
    view.showStatus(texts.storedResult);
    view.showNotice({ tone: "info", text, action: { label: texts.runIt, run } });
    view.announce(output === "" ? text : `${text} ${texts.storedWith(output)}`);
  }

  /** An evaluation is over after so many milliseconds; `output`: what screen readers hear of it. */
  finished(outcome: Outcome, milliseconds: number, output: string, again: () => void): void {
    const { texts, view } = this;
    const elapsed = durationText(milliseconds);
    switch (outcome.type) {
      case "ok":
        view.showStatus(texts.finished(elapsed));
        view.announce(output === "" ? texts.finishedSilently : texts.finishedWith(output));
        break;
      case "error":
        view.showStatus(texts.errorAfter(elapsed));
        view.announce(texts.error(`${outcome.reply.ename}: ${outcome.reply.evalue}`));
        break;
      case "interrupted":
        view.showStatus(texts.stoppedAfter(elapsed));
        view.announce(`${texts.stopped}.`);
        break;
      case "aborted":
        view.showStatus(texts.notRun);
        view.announce(`${texts.notRun}.`);
        break;
      case "cancelled":
        view.showStatus(texts.stopped);
        view.announce(`${texts.stopped}.`);
        break;
      case "ended":
        view.showStatus(texts.endedAfter(elapsed));
        this.ended(outcome.ending);
        break;
      case "failed":
        view.showStatus("");
        this.failed(outcome.error, again);
        break;
    }
  }
}
