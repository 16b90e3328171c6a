/** A cell: carries out what the evaluation's state machine decides. */

import type { EditorView } from "@codemirror/view";

import { Attachments } from "./attachments.js";
import { AttachmentsPanel } from "./attachments_panel.js";
import { complete } from "./completion.js";
import { CellView } from "./cell_view.js";
import type { Part } from "./cell_view.js";
import { createEditor, offersCompletions, replaceCode, setLanguage } from "./editor.js";
import { IDLE, step } from "./evaluation.js";
import type { Effect, Evaluation, Happening, Outcome } from "./evaluation.js";
import type { SavedInteract } from "./interacts.js";
import type { Explain } from "./explanation.js";
import type { Ending, Kernel, Listener } from "./kernel.js";
import { LanguageMenu } from "./language_menu.js";
import { prepareLease } from "./lease_socket.js";
import { PAGE_SESSION, executeRequest, textOf } from "./messages.js";
import type { KernelMessage, Request } from "./messages.js";
import { outputOf, pagesOf } from "./output_items.js";
import type { Check } from "./options.js";
import { Transcript } from "./notebook.js";
import { OutputView } from "./output_view.js";
import { whenSomebodyIsHere } from "./presence.js";
import { Progress } from "./progress.js";
import { Reports } from "./reports.js";
import type { Server, Wanted } from "./server.js";
import { FreshSession } from "./session.js";
import { Sharing, sharedCell } from "./sharing.js";
import { filesOf } from "./session_files.js";
import type { LinkedSession, Waiting } from "./session.js";
import { StudyAids } from "./study_aids.js";
import { languageOf, stringsFor } from "./strings/catalogue.js";
import type { Strings } from "./strings/catalogue.js";
import { Summary } from "./summary.js";

export interface CellOptions {
  readonly server: Server;
  /** The kernel shared with other cells; without it every evaluation gets a fresh one. */
  readonly linked: LinkedSession | undefined;
  readonly input: ParentNode & Node;
  readonly output: ParentNode & Node;
  readonly code: string;
  /** Interacts with whose values the first evaluation of `code` begins. */
  readonly interacts: readonly SavedInteract[];
  /** Programs that judge what the visitor's program did. */
  readonly checks: readonly Check[];
  /** What is said of errors to who asks. */
  readonly explain: Explain;
  /** Whether the result of `code` may be one that the server keeps of an earlier visitor. */
  readonly keepResult: boolean;
  /** Languages to choose from; the first is chosen at the beginning. At least one. */
  readonly languages: readonly [string, ...string[]];
  /** Environment and profile of the server; "" is what the language needs, and the default profile. */
  readonly wanted: Wanted;
  readonly readOnly: boolean;
  readonly evaluateLabel: string | undefined;
  readonly hide: ReadonlySet<Part>;
  readonly aliases: Readonly<Record<string, string>>;
  readonly changed: (code: string) => void;
  /** Language in which the cell speaks; without it that of the page around it. */
  readonly speaks?: string | undefined;
}

/** A kernel that has not reacted to an interrupt after this long may be ended. */
const INTERRUPT_MILLISECONDS = 2_000;

/** An evaluation that is over sooner never looks busy: the page is drawn anew once, with the output, instead of before. */
const QUICK_MILLISECONDS = 60;

/** After an evaluation, the next one is prepared when the page has shown this one. */
const AGAIN_MILLISECONDS = 300;

export class Cell {
  private readonly server: Server;
  private readonly linked: LinkedSession | undefined;
  private readonly fresh: FreshSession;
  private readonly view: CellView;
  private readonly editor: EditorView;
  private readonly outputs: OutputView;
  private readonly leaveLink: (() => void) | undefined;
  private readonly leavePresence: () => void;
  private readonly sharing: Sharing;
  private readonly reports: Reports;
  private readonly progress: Progress;
  private readonly aids: StudyAids;
  private readonly texts: Strings;

  private readonly attached: AttachmentsPanel;
  private readonly menu: LanguageMenu;
  private readonly wanted: Wanted;
  private state: Evaluation = IDLE;
  /** Number of the evaluation; whatever belongs to an earlier one is ignored. */
  private evaluation = 0;
  private kernel: Kernel | undefined;
  private request: Request | undefined;
  /** Hears of the line for a kernel, and stands for the evaluation there. */
  private waiting: Waiting = () => undefined;
  private silence: () => void = () => undefined;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private busySoon: ReturnType<typeof setTimeout> | undefined;
  private summary = new Summary("");
  private transcript = new Transcript();
  private readonly checks: readonly Check[];
  /** Interacts of a permalink, until a kernel has them. */
  private restored: { readonly code: string; readonly interacts: readonly SavedInteract[] } | undefined;
  /** The code whose output is shown. */
  private evaluated: string | undefined;
  /** The author's code, if a kept result of it will do. */
  private readonly keepable: string | undefined;
  /** The visitor wants the next evaluation to be made, whatever is kept. */
  private afresh = false;

  constructor(options: CellOptions) {
    this.server = options.server;
    this.texts = stringsFor(options.speaks, languageOf(options.input));
    this.linked = options.linked;
    this.fresh = new FreshSession(options.server);
    this.wanted = options.wanted;
    this.menu = new LanguageMenu(options.languages, options.wanted, options.server, this.texts, () => {
      setLanguage(this.editor, this.menu.language, this.menu.label, this.texts.editorKeys, this.server.asset("modes.js"));
      this.aids.programmed = this.menu.language;
    });
    this.checks = options.checks;
    this.restored = { code: options.code, interacts: options.interacts };
    const attachments = this.linked?.attachments ?? new Attachments(options.server);
    this.attached = new AttachmentsPanel(attachments, options.server, this.texts, {
      kernel: async () => {
        const kernel = await (this.linked?.running ?? Promise.resolve(this.kernel)).catch(() => undefined);
        // one without a name takes no files: its result may be kept
        return kernel?.ending || kernel?.id === "" ? undefined : kernel;
      },
      announce: (text) => {
        this.view.announce(text);
      },
    });
    this.aids = new StudyAids({
      texts: this.texts,
      language: options.speaks ?? languageOf(options.input),
      explain: options.explain,
      editable: !options.readOnly && !options.hide.has("editor"),
      replace: (code) => {
        this.code = code;
        this.focus();
      },
      idleKernel: () => this.keptKernel,
      announce: (text) => {
        this.view.announce(text);
      },
      changed: () => {
        this.view.showOutput();
      },
    });
    this.aids.programmed = this.menu.language;
    this.view = new CellView(
      {
        input: options.input,
        output: options.output,
        evaluateLabel: options.evaluateLabel ?? this.texts.evaluate,
        language: this.menu.element,
        attach: this.attached,
        hidden: options.hide,
        aliases: options.aliases,
        restart: options.linked !== undefined,
        aids: this.aids,
        texts: this.texts,
      },
      {
        evaluate: () => {
          this.evaluate();
        },
        stop: () => {
          this.stop();
        },
        restart: () => {
          this.linked?.restart();
        },
        share: () => {
          void this.share();
        },
        download: () => {
          this.sharing.download();
        },
        resized: (focus) => {
          this.refresh();
          if (focus) this.focus();
        },
        listing: () => offersCompletions(this.editor),
      },
    );
    this.attached.listen(this.view.input);
    this.reports = new Reports(this.view, this.texts);
    this.progress = new Progress(this.view, this.texts, () => this.state.phase);
    this.editor = createEditor({
      parent: this.view.editor,
      root: this.view.root,
      code: options.code,
      language: this.menu.language,
      label: this.menu.label,
      keys: this.texts.editorKeys,
      modes: this.server.asset("modes.js"),
      readOnly: options.readOnly,
      complete: (context) =>
        this.menu.completes ? complete(context, this.server, this.menu.environment ?? "", this.idleKernel) : Promise.resolve(null),
      evaluate: () => {
        this.evaluate();
      },
      changed: options.changed,
    });
    this.keepable = options.keepResult && !this.linked ? this.code : undefined;
    this.outputs = new OutputView(this.view.frames, this.server.outputFrame, this.texts.frame, {
      gone: () => {
        this.view.showNotice({ tone: "warning", text: this.texts.outputLeft });
      },
      unloaded: () => {
        this.reports.tell("warning", this.texts.frameUnloaded);
      },
      offered: (file) => {
        this.reports.offered(file);
      },
      shown: () => {
        this.view.showFrames();
      },
    });
    prepareLease(this.server);
    for (const near of ["pointerover", "focusin"]) {
      this.view.input.addEventListener(near, () => {
        this.prepare();
      });
    }
    this.leavePresence = whenSomebodyIsHere(this.view.input, () => {
      this.prepare();
    });
    const shown = sharedCell(options.input, () => ({
      code: this.code,
      language: this.menu.language,
      outputs: this.transcript.list,
      interacts: this.savedInteracts,
    }));
    this.leaveLink = this.linked?.join((ending) => {
      if (this.kernel) this.linkLost(ending);
    }, shown);
    this.sharing = new Sharing(this.server, this.view.sharePanel, shown, () => this.linked?.cells ?? [shown]);
  }

  get code(): string {
    return this.editor.state.doc.toString();
  }

  set code(code: string) {
    replaceCode(this.editor, code);
  }

  focus(): void {
    this.editor.focus();
  }

  /** Lay the editor out again, after it was hidden or moved. */
  refresh(): void {
    this.editor.requestMeasure();
  }

  /** Somebody is near: have a connection and a frame for output there before the click. */
  private prepare(): void {
    if (this.state.phase !== "idle") return;
    prepareLease(this.server);
    this.outputs.prepare();
  }

  evaluate(afresh = false): void {
    this.afresh = afresh;
    const known = this.menu.learn();
    if (known === undefined) {
      this.happen({ type: "evaluate" });
      return;
    }
    known.then(
      () => {
        if (this.menu.environment === undefined) this.reports.tell("error", this.menu.reason);
        else this.happen({ type: "evaluate" });
      },
      (error: unknown) => {
        this.reports.failed(asError(error), () => {
          this.evaluate(afresh);
        });
      },
    );
  }

  stop(): void {
    this.happen({ type: "stop" });
  }

  /** What an evaluation under way shows from here on is shown. */
  clearOutput(): void {
    this.outputs.clear();
    if (this.state.phase === "idle") return;
    this.outputs.begin();
    if (this.state.phase !== "starting") this.connectOutput();
  }

  /** Take the cell off the page and let its kernel go. */
  remove(): void {
    this.abandon();
    this.leaveKernel();
    this.leaveLink?.();
    this.leavePresence();
    this.attached.remove();
    clearTimeout(this.busySoon);
    this.outputs.clear();
    this.editor.destroy();
    this.view.remove();
  }

  private happen(happening: Happening): void {
    const { next, effects } = step(this.state, happening);
    this.state = next;
    for (const effect of effects) this.perform(effect);
    this.showPhase();
  }

  private showPhase(): void {
    const { phase } = this.state;
    this.view.notePhase(phase);
    if ((phase === "starting" || phase === "running") && !this.view.looksBusy) {
      this.busySoon ??= setTimeout(() => {
        this.busySoon = undefined;
        this.view.showPhase(this.state.phase);
        // a server may tell the place in line before an evaluation looks busy
        if (!this.progress.showPlace()) this.view.announce(`${this.texts.running}.`);
      }, QUICK_MILLISECONDS);
      return;
    }
    clearTimeout(this.busySoon);
    this.busySoon = undefined;
    this.view.showPhase(phase);
  }

  private perform(effect: Effect): void {
    switch (effect.type) {
      case "abandon":
        this.abandon();
        this.leaveKernel();
        break;
      case "lease":
        this.lease();
        break;
      case "execute":
        this.execute();
        break;
      case "interrupt":
        this.kernel?.interrupt();
        this.patience = setTimeout(() => {
          this.happen({ type: "interruptIgnored" });
          this.view.announce(this.texts.stubbornSaid);
        }, INTERRUPT_MILLISECONDS);
        break;
      case "endKernel":
        void this.kernel?.end();
        break;
      case "finish":
        this.finish(effect.outcome);
        break;
    }
  }

  /** From here on, nothing of the evaluation under way is heard. */
  private abandon(): void {
    this.evaluation += 1;
    this.progress.end();
    this.view.askNoMore();
    this.silence();
    this.silence = () => undefined;
    clearTimeout(this.patience);
  }

  /** The evaluation needs its kernel, or its place in the line for one, no longer. */
  private leaveKernel(): void {
    this.fresh.leave();
    this.linked?.withdraw(this.waiting);
  }

  private lease(): void {
    this.abandon();
    const { evaluation } = this;
    this.summary = new Summary(this.texts.picture);
    this.transcript = new Transcript();
    this.view.showNotice(undefined);
    this.view.hideFiles();
    this.view.leaveFullScreen();
    this.outputs.begin();
    this.progress.begin();
    const waiting: Waiting = (before) => {
      if (evaluation === this.evaluation) this.progress.place(before);
    };
    this.waiting = waiting;
    const { code } = this;
    this.aids.begin(code);
    const interacts = this.restored?.code === code ? this.restored.interacts : [];
    this.evaluated = code;
    const result = code === this.keepable && !this.afresh && !this.attached.some && interacts.length === 0;
    const request = executeRequest(PAGE_SESSION, this.menu.sent(code), { interacts, checks: this.checks, aids: this.aids.metadata, result });
    this.request = request;
    const wanted = { ...this.wanted, environment: this.menu.environment ?? "" };
    const opened = this.attached.opened((now) => (this.linked ?? this.fresh).open(waiting, wanted, now ? request : undefined), () => evaluation === this.evaluation);
    opened.then(
      (kernel) => {
        if (evaluation !== this.evaluation) return;
        this.kernel = kernel;
        this.happen({ type: "leased" });
      },
      (error: unknown) => {
        if (evaluation !== this.evaluation) return;
        this.fresh.leave();
        this.happen({ type: "failed", error: asError(error) });
      },
    );
  }

  private execute(): void {
    if (!this.kernel || !this.request) return;
    this.restored = undefined;
    const { evaluation } = this;
    this.connectOutput();
    const listener: Listener = {
      message: (message) => {
        if (evaluation === this.evaluation) this.receive(message);
      },
      connection: (up) => {
        if (evaluation === this.evaluation) this.progress.connection(up);
      },
      lost: () => {
        if (evaluation === this.evaluation) this.outputs.push({ kind: "stream", name: "stderr", text: `\n[${this.texts.outputLost}]\n` });
      },
      ended: (ending) => {
        if (evaluation !== this.evaluation) return;
        // nobody can come back to a kernel without a name: what always comes to the same begins anew
        if (ending.reason === "lost" && this.kernel?.id === "") this.evaluate(true);
        else this.happen({ type: "ended", ending });
      },
    };
    this.silence = this.kernel.execute(this.request, listener);
  }

  private connectOutput(): void {
    if (!this.kernel || !this.request) return;
    this.outputs.connect(this.kernel, this.request.header.msg_id, (ending) => {
      // the next evaluation ends the kernel of the last: its controls are about to be replaced
      if (this.state.phase === "starting") return;
      this.reports.ended(ending, this.texts.controlsLost, "info");
    });
  }

  /** What a permalink of the present code holds of interacts. */
  private get savedInteracts(): readonly SavedInteract[] {
    if (this.restored) return this.restored.code === this.code ? this.restored.interacts : [];
    return this.evaluated === this.code ? this.outputs.savedInteracts : [];
  }

  /** The kernel of linked cells, which knows their variables, when no cell is using it. */
  private get idleKernel(): Kernel | undefined {
    return this.linked && this.keptKernel;
  }

  /** The kernel of the last evaluation, when it is still there. */
  private get keptKernel(): Kernel | undefined {
    const { kernel } = this;
    return this.state.phase === "idle" && kernel && !kernel.ending ? kernel : undefined;
  }

  private receive(message: KernelMessage): void {
    const { content } = message;
    if (message.type === "execute_reply") {
      for (const item of pagesOf(content)) this.outputs.push(item);
      const status = content.status === "ok" || content.status === "aborted" ? content.status : "error";
      this.happen({ type: "reply", reply: { status, ename: textOf(content.ename), evalue: textOf(content.evalue) } });
      return;
    }
    if (message.type === "status" && content.execution_state === "idle") {
      this.happen({ type: "settled" });
      return;
    }
    if (message.type === "input_request") {
      this.ask(textOf(content.prompt), content.password === true);
      return;
    }
    const listing = filesOf(message);
    if (listing) {
      const { kernel } = this;
      // a kernel may get its name later
      this.view.showFiles(listing, (path) => this.server.file(kernel?.id ?? "", path));
      return;
    }
    if (this.aids.hear(message)) return;
    const item = outputOf(message);
    if (!item) return;
    this.summary.add(item);
    this.transcript.add(item);
    this.outputs.push(item);
  }

  private finish(outcome: Outcome): void {
    this.abandon();
    // a hand that is still here may evaluate again
    setTimeout(() => {
      if (this.view.input.matches(":hover, :focus-within")) this.prepare();
    }, AGAIN_MILLISECONDS);
    if (outcome.type === "failed" || outcome.type === "cancelled" || outcome.type === "aborted") {
      this.outputs.cancel();
    } else {
      this.outputs.end();
      this.view.showFrames();
    }
    this.aids.ended(outcome);
    const made = this.kernel?.stored;
    if (outcome.type === "ok" && made) {
      this.reports.stored(made, this.summary.toString(), () => {
        this.view.focusEvaluate();
        this.evaluate(true);
      });
      return;
    }
    this.reports.finished(outcome, this.progress.elapsed, this.summary.toString(), () => {
      this.evaluate();
    });
  }

  /** Ask the visitor what the program asks, where its output stands. */
  private ask(prompt: string, secret: boolean): void {
    this.outputs.replace();
    this.view.askFor(prompt, secret, (value) => {
      this.outputs.push({ kind: "stream", name: "stdout", text: `${prompt}${secret ? "·".repeat(8) : value}\n` });
      this.kernel?.answer(value);
    });
    this.view.announce(this.texts.asks(prompt));
  }

  private linkLost(ending: Ending): void {
    this.kernel = undefined;
    this.reports.ended(ending, this.texts.variablesLost);
  }

  private async share(): Promise<void> {
    this.view.setSharing(true);
    try {
      await this.sharing.show();
    } catch (error) {
      this.reports.failed(asError(error), () => {
        this.view.showNotice(undefined);
        void this.share();
      });
    } finally {
      this.view.setSharing(false);
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
