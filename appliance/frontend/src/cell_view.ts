/** What a cell looks like: its elements, without any decision. */

import { adoptStyles, icon, make } from "./dom.js";
import type { Phase } from "./evaluation.js";
import { FullScreen } from "./full_screen.js";
import { KeysDialog } from "./keys_dialog.js";
import { FilesPanel } from "./session_files.js";
import type { Fetch, Listing } from "./session_files.js";
import { SharePanel } from "./share_panel.js";
import type { Strings } from "./strings/catalogue.js";

const PLAY = "M5 3.5v9l7.5-4.5z";
const SQUARE = "M4.5 4.5h7v7h-7z";
const CORNERS = "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3";
const LINK = "M6.5 9.5l3-3M7 4.5l1-1a3 3 0 0 1 4.2 4.2l-1.4 1.4M9 11.5l-1 1a3 3 0 0 1-4.2-4.2l1.4-1.4";

/** Parts that `hide` can name. */
export type Part = "editor" | "fullScreen" | "evalButton" | "language" | "attach" | "share" | "output" | "files" | "variables";

export type Tone = "info" | "warning" | "error";

export interface Notice {
  readonly tone: Tone;
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

export interface ViewOptions {
  readonly input: ParentNode & Node;
  readonly output: ParentNode & Node;
  readonly evaluateLabel: string;
  readonly language: HTMLElement;
  /** What adds files, and shows which there are. */
  readonly attach: { readonly button: HTMLElement; readonly element: HTMLElement };
  readonly hidden: ReadonlySet<Part>;
  /** Whether the kernel can be restarted: linked cells keep one. */
  readonly restart: boolean;
  /** What stands below the output for who learns, and the button in the bar that belongs to it. */
  readonly aids: { readonly element: HTMLElement; readonly button: HTMLElement; readonly shown: boolean };
  /** Further class names, by the cell's own; for pages that style or script another product's names. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly texts: Strings;
}

export interface ViewEvents {
  readonly evaluate: () => void;
  readonly stop: () => void;
  readonly restart: () => void;
  readonly share: () => void;
  readonly download: () => void;
  /** The room that the editor has is another; `focus`: the visitor goes on there. */
  readonly resized: (focus: boolean) => void;
  /** Whether a list stands in the editor that Escape closes. */
  readonly listing: () => boolean;
}

/** Words beside the buttons, and the label of the Stop button, in each phase. */
function phaseTexts(texts: Strings): Record<Phase, { status: string; stop: string }> {
  return {
    idle: { status: "", stop: texts.stop },
    starting: { status: texts.starting, stop: texts.stop },
    running: { status: texts.running, stop: texts.stop },
    interrupting: { status: texts.stopping, stop: texts.stopping },
    stubborn: { status: texts.stubborn, stop: texts.endKernel },
    ending: { status: texts.endingKernel, stop: texts.endingKernel },
  };
}

/** Where the number of the page's cells is, for both of our scripts. */
const CELLS = Symbol.for("cell-appliance.cells");

/** Return the number of a new cell on its page. */
function nextNumber(): number {
  const page = window as { [CELLS]?: number };
  page[CELLS] = (page[CELLS] ?? 0) + 1;
  return page[CELLS];
}

export class CellView {
  readonly editor = make("div", "ca-editor", { dir: "ltr" });
  readonly frames = make("div", "ca-frames");
  /** Output that came with the page, for who does not evaluate. */
  private readonly stored = make("slot", "ca-stored", { name: "output" });
  private readonly files: FilesPanel;
  readonly sharePanel: SharePanel;

  private readonly aids: ViewOptions["aids"];
  private readonly filesHidden: boolean;
  readonly input: HTMLElement;
  private readonly output: HTMLElement;
  private readonly run: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private readonly stopLabel = make("span", "");
  private readonly texts: Strings;
  private readonly phases: ReturnType<typeof phaseTexts>;
  private readonly share: HTMLButtonElement;
  private readonly fullScreen: FullScreen;
  private readonly status = make("span", "ca-status");
  private readonly activity = make("div", "ca-activity", { "aria-hidden": "true" });
  private readonly question = make("form", "ca-question", { hidden: "" });
  private readonly notice = make("div", "ca-notice", { hidden: "" });
  private readonly live = make("div", "ca-visually-hidden", { role: "status", "aria-live": "polite" });

  constructor(options: ViewOptions, events: ViewEvents) {
    const number = nextNumber();
    const numbered = (name: string): string => (number === 1 ? name : `${name} ${number}`);
    const { texts } = options;
    this.texts = texts;
    this.files = new FilesPanel(texts);
    this.aids = options.aids;
    this.phases = phaseTexts(texts);
    this.stopLabel.textContent = texts.stop;
    this.run = make(
      "button",
      "ca-button ca-primary ca-run",
      { type: "button", title: "Shift+Enter", "aria-keyshortcuts": "Shift+Enter" },
      icon(PLAY),
      make("span", "", {}, options.evaluateLabel),
    );
    this.stop = make("button", "ca-button ca-stop", { type: "button", hidden: "" }, icon(SQUARE), this.stopLabel);
    this.share = make("button", "ca-button ca-quiet ca-share", { type: "button" }, icon(LINK), make("span", "", {}, texts.share));
    this.run.addEventListener("click", events.evaluate);
    this.stop.addEventListener("click", events.stop);
    this.share.addEventListener("click", events.share);
    this.sharePanel = new SharePanel(
      texts,
      (text) => {
        this.announce(text);
      },
      () => {
        this.share.focus();
      },
      events.download,
    );

    const language = make("span", "ca-language", {}, options.language);
    const restart = make("button", "ca-button ca-quiet ca-restart", { type: "button" }, texts.restart);
    restart.title = texts.restartTitle;
    restart.hidden = !options.restart;
    restart.addEventListener("click", events.restart);
    const hint = make("span", "ca-hint", { "aria-hidden": "true" }, texts.hint);
    const full = make("button", "ca-button ca-quiet ca-full-screen", { type: "button", "aria-label": texts.fullScreen, "aria-keyshortcuts": "F11" }, icon(CORNERS));
    full.title = `${texts.fullScreen} (F11)`;
    const help = make("button", "ca-button ca-quiet ca-help", { type: "button", "aria-label": texts.keysTitle, "aria-keyshortcuts": "F1" }, "?");
    help.title = `${texts.keysTitle} (F1)`;
    const variables = make("span", "", {}, options.aids.button);
    const meta = make("span", "ca-meta", {}, language, restart, variables, options.attach.button, this.share, full, help);
    const bar = make("div", "ca-bar", {}, this.run, this.stop, this.status, hint, meta);
    this.input = make("section", "ca-scope ca-input", { "aria-label": numbered(texts.cell) }, this.editor, bar, options.attach.element, this.sharePanel.element, this.live);
    this.output = make("section", "ca-scope ca-output", { "aria-label": numbered(texts.output) }, this.activity, this.stored, this.frames, this.files.element, this.question, this.notice, options.aids.element);
    this.fullScreen = new FullScreen(this.input, full, events.listing, events.resized);
    const keys = new KeysDialog(texts, this.input);
    this.input.append(keys.element);
    help.addEventListener("click", () => {
      keys.show();
    });
    this.input.dataset.phase = "idle";

    const { hidden } = options;
    this.editor.hidden = hidden.has("editor");
    full.hidden = hidden.has("fullScreen") || hidden.has("editor");
    help.hidden = hidden.has("editor");
    this.run.hidden = hidden.has("evalButton");
    language.hidden = hidden.has("language");
    this.share.hidden = hidden.has("share");
    options.attach.button.hidden = hidden.has("attach");
    this.frames.hidden = hidden.has("output");
    this.filesHidden = hidden.has("files");
    variables.hidden = hidden.has("variables") || hidden.has("editor");
    bar.hidden = [this.run, language, this.share, options.attach.button, this.editor].every((part) => part.hidden);
    this.addAliases(options.aliases);

    this.place(this.input, options.input);
    this.place(this.output, options.output);
    this.input.classList.toggle("ca-joined", options.input === options.output);
    this.showOutput();
  }

  /** The root that holds the editor. */
  get root(): Document | ShadowRoot {
    const root = this.editor.getRootNode();
    return root instanceof ShadowRoot ? root : document;
  }

  /** Whether it is to be seen that an evaluation runs. */
  get looksBusy(): boolean {
    return !this.stop.hidden;
  }

  /** Note the phase where scripts find it; nothing is drawn anew. */
  notePhase(phase: Phase): void {
    this.input.dataset.phase = phase;
  }

  /** Put the focus on the button that evaluates. */
  focusEvaluate(): void {
    this.run.focus();
  }

  leaveFullScreen(): void {
    this.fullScreen.leave();
  }

  showPhase(phase: Phase): void {
    const busy = phase !== "idle";
    const { status, stop } = this.phases[phase];
    const focused = this.root.activeElement === this.stop;
    this.stop.hidden = !busy;
    this.stopLabel.textContent = stop;
    this.stop.setAttribute("aria-disabled", String(phase === "interrupting" || phase === "ending"));
    // The button under the keyboard's focus must not vanish from under it.
    if (focused && !busy) this.run.focus();
    this.activity.classList.toggle("ca-busy", busy);
    this.notePhase(phase);
    if (busy) this.showStatus(status);
    this.showOutput();
  }

  showStatus(text: string): void {
    this.status.textContent = text;
  }

  showNotice(notice: Notice | undefined): void {
    this.notice.hidden = notice === undefined;
    this.showOutput();
    if (!notice) {
      this.notice.replaceChildren();
      return;
    }
    this.notice.dataset.tone = notice.tone;
    this.notice.replaceChildren(make("p", "ca-sentence", {}, notice.text));
    const { action } = notice;
    if (action) {
      const button = make("button", "ca-button ca-action", { type: "button" }, action.label);
      button.addEventListener("click", action.run);
      this.notice.append(button);
    }
  }

  /** Ask for a line of text below the output; `answered` is called once, unless the question is taken back. */
  askFor(prompt: string, secret: boolean, answered: (value: string) => void): void {
    const field = make("input", "ca-field", { type: secret ? "password" : "text", autocomplete: "off", spellcheck: "false" });
    const label = make("label", "ca-prompt", {}, prompt === "" ? this.texts.input : prompt, field);
    const send = make("button", "ca-button", { type: "submit" }, this.texts.send);
    this.question.replaceChildren(label, send);
    this.question.onsubmit = (event) => {
      event.preventDefault();
      const { value } = field;
      this.askNoMore();
      this.stop.focus();
      answered(value);
    };
    this.question.hidden = false;
    this.showOutput();
    field.focus();
  }

  /** List the files of an evaluation. */
  showFiles(listing: Listing, fetch: Fetch): void {
    if (!this.filesHidden) this.files.show(listing, fetch);
    this.showOutput();
  }

  /** Take that list away. */
  hideFiles(): void {
    this.files.clear();
    this.showOutput();
  }

  /** There is output of this cell's own now, in sight. */
  showFrames(): void {
    this.stored.hidden = true;
    this.showOutput();
  }

  askNoMore(): void {
    this.question.hidden = true;
    this.question.replaceChildren();
  }

  /** Say `text` to screen readers. */
  announce(text: string): void {
    this.live.textContent = text;
  }

  setSharing(busy: boolean): void {
    this.share.setAttribute("aria-disabled", String(busy));
  }

  remove(): void {
    this.input.remove();
    this.output.remove();
  }

  /** An output section without anything in it is not seen, but there: a frame in it is laid out before it is needed. */
  showOutput(): void {
    const framed = this.frames.querySelector(".ca-frame:not(.ca-frame-next)") !== null;
    const stored = !this.stored.hidden && this.stored.assignedElements().length > 0;
    const asked = !this.question.hidden;
    const empty = !this.looksBusy && this.notice.hidden && this.files.element.hidden && !framed && !stored && !asked && !this.aids.shown;
    this.output.classList.toggle("ca-parked", empty);
  }

  private place(part: HTMLElement, parent: ParentNode & Node): void {
    const root = parent.getRootNode();
    const shadow = root instanceof ShadowRoot;
    part.classList.toggle("ca-light", !shadow);
    parent.append(part);
    adoptStyles(shadow ? root : document);
  }

  private addAliases(aliases: Readonly<Record<string, string>>): void {
    for (const [own, further] of Object.entries(aliases)) {
      for (const part of [this.input, this.output]) {
        for (const element of [part, ...part.querySelectorAll(`.${own}`)]) {
          if (element.classList.contains(own)) element.classList.add(...further.split(" "));
        }
      }
    }
  }
}
