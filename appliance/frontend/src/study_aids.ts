/**
 * What a cell has beside its output for who learns to program: the variables, an explanation of the error, the
 * conversion of a program of Python 2. The kernel tells of them in displays of their own, before its reply.
 */

import { ConversionPanel, conversionOf } from "./conversion.js";
import { make } from "./dom.js";
import type { Outcome } from "./evaluation.js";
import { ExplanationPanel, toldOf } from "./explanation.js";
import type { Explain } from "./explanation.js";
import type { Kernel } from "./kernel.js";
import { PAGE_SESSION, executeRequest } from "./messages.js";
import type { Json, KernelMessage } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";
import { VariablesPanel, variablesOf } from "./variables.js";

export interface StudyAidsOptions {
  readonly texts: Strings;
  /** Language tag in which explanations are asked for. */
  readonly language: string;
  readonly explain: Explain;
  /** Whether the visitor may change the program. */
  readonly editable: boolean;
  /** Put another program into the editor. */
  readonly replace: (code: string) => void;
  /** A kernel that still has the variables of the last evaluation and is not computing. */
  readonly idleKernel: () => Kernel | undefined;
  readonly announce: (text: string) => void;
  /** What there is to see is another. */
  readonly changed: () => void;
}

export class StudyAids {
  readonly element = make("div", "ca-aids");
  private readonly conversion: ConversionPanel;
  private readonly explanation: ExplanationPanel;
  private readonly variables: VariablesPanel;
  private code = "";

  constructor(private readonly options: StudyAidsOptions) {
    const { texts, announce, explain } = options;
    this.conversion = new ConversionPanel(texts, (code) => {
      options.replace(code);
      options.changed();
      announce(texts.conversionDone);
    });
    this.explanation = new ExplanationPanel(texts, explain, announce);
    this.variables = new VariablesPanel(texts, (open) => {
      options.changed();
      if (open) this.listVariables();
    });
    this.element.append(this.explanation.element, this.conversion.element, this.variables.element);
  }

  /** Opens and closes the variables. */
  get button(): HTMLElement {
    return this.variables.button;
  }

  /** Whether anything is to be seen. */
  get shown(): boolean {
    return [...this.element.children].some((child) => child instanceof HTMLElement && !child.hidden);
  }

  /** Kernels of other languages than Python list no variables. */
  set programmed(language: string) {
    this.variables.button.hidden = language !== "python" && language !== "sage";
  }

  /** What goes with an evaluation, in its metadata. */
  get metadata(): Json {
    const { explain, language } = this.options;
    return {
      ...(explain.kernel ? { explain: language === "" ? "en" : language } : {}),
      ...(this.variables.open ? { variables: true } : {}),
    };
  }

  begin(code: string): void {
    this.code = code;
    this.conversion.clear();
    this.explanation.clear();
    this.variables.begin();
    this.options.changed();
  }

  /** Return whether a message was for here. */
  hear(message: KernelMessage): boolean {
    const conversion = conversionOf(message);
    const told = toldOf(message);
    const list = variablesOf(message);
    if (conversion && this.options.editable) this.conversion.show(this.code, conversion);
    if (told) this.explanation.hear(told);
    if (list) this.variables.show(list);
    const heard = conversion ?? told ?? list;
    if (heard) this.options.changed();
    return heard !== undefined;
  }

  ended(outcome: Outcome): void {
    if (outcome.type === "error") this.explanation.offer(outcome.reply, this.code);
    this.variables.ended();
    this.options.changed();
  }

  /** Ask the kernel of the last evaluation, if it is still there, without running anything. */
  private listVariables(): void {
    const request = executeRequest(PAGE_SESSION, "", { silent: true, aids: { variables: true } });
    const stop = this.options.idleKernel()?.execute(request, {
      message: (message) => {
        this.hear(message);
        if (message.type === "status" && message.content.execution_state === "idle") stop?.();
      },
      ended: () => undefined,
    });
  }
}
