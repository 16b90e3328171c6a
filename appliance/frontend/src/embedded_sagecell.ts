/** `window.sagecell`: the embedding interface of SageMathCell over our cell, for pages written against it. */

import { Cell } from "./cell.js";
import { savedIn } from "./interacts.js";
import { isObject, textOf } from "./messages.js";
import type { Json } from "./messages.js";
import { checksOf, codeOf, elementsOf, explainOf, languagesOf, linkKeyOf, partsOf, wantedOf, withTemplate } from "./options.js";
import { findRoot, rememberScript } from "./root.js";
import { provideJQuery } from "./small_jquery.js";
import type { Part } from "./cell_view.js";
import { Server } from "./server.js";
import { linkedSession } from "./session.js";
import { languageOf, stringsFor } from "./strings/catalogue.js";

const FILE = "embedded_sagecell.js";

rememberScript(FILE);

/** Class names that pages style and click, by our own. */
const ALIASES: Readonly<Record<string, string>> = {
  "ca-input": "sagecell_input",
  "ca-editor": "sagecell_editor",
  "ca-bar": "sagecell_commands",
  "ca-run": "sagecell_evalButton",
  "ca-language": "sagecell_options sagecell_language",
  "ca-full-screen": "sagecell_fullScreen",
  "ca-output": "sagecell_output_elements sagecell_sessionContainer",
  "ca-notice": "sagecell_messages",
  "ca-frames": "sagecell_output sagecell_sessionOutput",
  "ca-activity": "sagecell_spinner",
  "ca-share": "sagecell_permalink",
  "ca-share-panel": "sagecell_permalink_result",
};

const ALL_LANGUAGES = ["sage", "gap", "gp", "html", "macaulay2", "maxima", "octave", "python", "r", "singular"];

const TEMPLATES = {
  minimal: { editor: "textarea-readonly", hide: ["editor", "files", "permalink"] },
  restricted: { editor: "codemirror-readonly", hide: ["files", "permalink"] },
};

/** Id of the hidden element in which `moveInputForm` keeps forms. */
const MOVED_ID = "sagecell_moved";

/** What `makeSagecell` returns; filled once the page is read. Options of the page's own pass through. */
type CellInfo = Json;

interface Built {
  readonly cell: Cell;
  readonly input: HTMLElement;
  readonly output: HTMLElement;
  form: { readonly element: HTMLElement; readonly mark: Comment } | undefined;
}

const built = new WeakMap<object, Built>();
const changes = new WeakMap<Cell, () => void>();
const infos = new WeakMap<Element, CellInfo>();
let calls = 0;

/** A textarea cannot hold a cell: put an element before it, and keep its value that of the editor. */
function holderOf(location: HTMLElement): HTMLElement {
  if (!(location instanceof HTMLTextAreaElement)) return location;
  const holder = document.createElement("div");
  location.before(holder);
  location.hidden = true;
  return holder;
}

function build(info: CellInfo, location: HTMLElement, options: Json, key: string | undefined): void {
  const earlier = infos.get(location);
  if (earlier) {
    // Pages call makeSagecell again for content they added: what is a cell already stays as it is.
    const same = built.get(earlier);
    if (same) built.set(info, same);
    return;
  }
  infos.set(location, info);
  const server = new Server(findRoot(window.sagecell?.root, "sagecell-root", FILE));
  const code = codeOf(options, location).trim();
  const checks = checksOf(options.checks, location);
  const explain = explainOf(options.explain, options.explanations, location);
  const holder = holderOf(location);
  const output = elementsOf(options.outputLocation)[0] ?? holder;
  holder.textContent = "";
  const hide = options.mode === "debug" ? new Set<Part>() : partsOf(options.hide);
  if (key !== undefined) hide.add("share");
  // pages made for SageMathCell do not expect it
  if (options.variables !== true) hide.add("variables");
  for (const element of [holder, output]) element.classList.add("sagecell");
  const { editor } = options;
  const cell = new Cell({
    server,
    linked: key === undefined ? undefined : linkedSession(server, key),
    input: holder,
    output,
    code,
    interacts: savedIn(options.interacts),
    checks,
    explain,
    keepResult: options.keepResult === true,
    languages: languagesOf(options.languages, options.defaultLanguage, "sage"),
    wanted: wantedOf(options),
    readOnly: typeof editor === "string" && editor.endsWith("-readonly"),
    evaluateLabel: typeof options.evalButtonText === "string" ? options.evalButtonText : undefined,
    speaks: typeof options.uiLanguage === "string" ? options.uiLanguage : undefined,
    hide,
    aliases: ALIASES,
    changed: (text) => {
      if (location instanceof HTMLTextAreaElement) location.value = text;
      changes.get(cell)?.();
    },
  });
  built.set(info, { cell, input: holder, output, form: undefined });
  Object.assign(info, {
    inputLocation: location,
    outputLocation: output,
    submit: () => {
      cell.evaluate();
    },
    editorData: editorOf(cell, holder),
    session: null,
  });
  collapse(holder, options.collapse, stringsFor(textOf(options.uiLanguage), languageOf(holder)).codeTitle);
  if (options.autoeval === true && code !== "") cell.evaluate();
  if (typeof options.callback === "function") (options.callback as () => void)();
}

/** What pages do with an editor of CodeMirror 5; the wrapper in the page carries it, as theirs did. */
function editorOf(cell: Cell, holder: HTMLElement): Json {
  const wrapper = holder.querySelector<HTMLElement>(".sagecell_editor") ?? holder;
  const listeners: ((editor: Json) => void)[] = [];
  const editor: Json = {
    getValue: () => cell.code,
    setValue: (text: unknown) => {
      cell.code = String(text);
    },
    focus: () => {
      cell.focus();
    },
    refresh: () => {
      cell.refresh();
    },
    save: () => undefined,
    getWrapperElement: () => wrapper,
    lineCount: () => cell.code.split("\n").length,
    on: (type: unknown, listener: unknown) => {
      if (type === "change" && typeof listener === "function") listeners.push(listener as (editor: Json) => void);
    },
  };
  changes.set(cell, () => {
    for (const listener of listeners) listener(editor);
  });
  wrapper.classList.add("CodeMirror");
  Object.assign(wrapper, { CodeMirror: editor });
  return editor;
}

/** Put the editor where visitors open and close it; `closed`: how it begins. */
function collapse(holder: HTMLElement, closed: unknown, title: string): void {
  const editor = holder.querySelector<HTMLElement>(".sagecell_editor");
  if (typeof closed !== "boolean" || !editor) return;
  const details = document.createElement("details");
  details.open = !closed;
  const summary = document.createElement("summary");
  summary.textContent = title;
  editor.before(details);
  details.append(summary, editor);
}

function buildAll(info: CellInfo, options: Json): void {
  const locations = elementsOf(options.inputLocation);
  if (locations.length > 1 && options.outputLocation !== undefined) {
    throw new Error("makeSagecell: with several input locations there can be no outputLocation");
  }
  calls += 1;
  const key = linkKeyOf(options, `call ${calls}`);
  watch(options, key, info);
  const [only, ...others] = locations;
  if (!only) return;
  if (others.length === 0) {
    build(info, only, options, key);
    return;
  }
  // Evaluating all cells of a new shared session at once would run them in no order.
  const shared = key !== undefined && options.linkKey === undefined;
  const each = shared ? { ...options, autoeval: false } : options;
  info.array = locations.map((location) => {
    const part: CellInfo = { ...each };
    build(part, location, each, key);
    return part;
  });
}

interface Watched {
  readonly selector: string;
  readonly options: Json;
  readonly key: string | undefined;
  readonly info: CellInfo;
}

/** Calls that named their cells by a selector: what fits and comes later becomes a cell as well. */
const watched: Watched[] = [];

/** Selectors that are looked for in what is added to the page; a page has fewer kinds of cells. */
const MAX_WATCHED = 64;

function buildAdded(added: Element): void {
  for (const { selector, options, key, info } of watched) {
    for (const element of [added, ...added.querySelectorAll(selector)]) {
      if (!(element instanceof HTMLElement) || !element.matches(selector) || infos.has(element)) continue;
      // parts of a cell may fit the selector that the page chose
      if (element.parentElement?.closest(".sagecell, .sagecell_input, .sagecell_output_elements")) continue;
      const part: CellInfo = { ...options };
      build(part, element, options, key);
      info.array = [...(Array.isArray(info.array) ? (info.array as CellInfo[]) : []), part];
    }
  }
}

const additions = new MutationObserver((records) => {
  for (const record of records) {
    for (const node of record.addedNodes) if (node instanceof Element && node.isConnected) buildAdded(node);
  }
});

/** Make cells of what fits a call's selector and comes into the page later: hints that open, pages that load more. */
function watch(options: Json, key: string | undefined, info: CellInfo): void {
  const { inputLocation: selector } = options;
  // ids name one element, and an outputLocation is for one cell
  if (typeof selector !== "string" || /#[\w-]+$/.test(selector.trim()) || options.outputLocation !== undefined) return;
  if (watched.length >= MAX_WATCHED || watched.some((one) => one.selector === selector)) return;
  watched.push({ selector, options, key, info });
  additions.observe(document, { childList: true, subtree: true });
}

function makeSagecell(given: unknown): CellInfo {
  if (!isObject(given)) throw new Error("makeSagecell: expected an object of options");
  const options = withTemplate(given);
  if (options.inputLocation === undefined || options.inputLocation === null) {
    throw new Error("Must specify an inputLocation.");
  }
  const info: CellInfo = { ...options };
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", () => {
      buildAll(info, options);
    });
  } else {
    buildAll(info, options);
  }
  return info;
}

/** Return the cells of what `makeSagecell` returned. */
function cellsOf(info: unknown): Built[] {
  if (!isObject(info)) return [];
  const one = built.get(info);
  const others = Array.isArray(info.array) ? info.array.flatMap(cellsOf) : [];
  return one ? [one, ...others] : others;
}

function deleteSagecell(info: unknown): void {
  for (const { cell, input, output } of cellsOf(info)) {
    cell.remove();
    input.remove();
    output.remove();
  }
}

function movedForms(): HTMLElement {
  const existing = document.getElementById(MOVED_ID);
  if (existing) return existing;
  const hidden = document.createElement("div");
  hidden.id = MOVED_ID;
  hidden.hidden = true;
  document.body.append(hidden);
  return hidden;
}

function moveInputForm(info: unknown): void {
  for (const one of cellsOf(info)) {
    const element = one.input.querySelector<HTMLElement>(".sagecell_input");
    if (one.form || !element) continue;
    const mark = document.createComment("sagecell form");
    element.before(mark);
    one.form = { element, mark };
    movedForms().append(element);
  }
}

function restoreInputForm(info: unknown): void {
  for (const one of cellsOf(info)) {
    if (!one.form) continue;
    one.form.mark.replaceWith(one.form.element);
    one.form = undefined;
    one.cell.refresh();
  }
}

declare global {
  interface Window {
    sagecell?: Json;
    singlecell?: Json;
  }
}

provideJQuery();

if (typeof window.sagecell?.makeSagecell !== "function") {
  // A page may have set `sagecell.root` before it loads this script.
  window.sagecell = Object.assign(window.sagecell ?? {}, {
    makeSagecell,
    deleteSagecell,
    moveInputForm,
    restoreInputForm,
    templates: TEMPLATES,
    allLanguages: ALL_LANGUAGES,
    modes: {},
    kernels: [],
    linkKeys: {},
    quietMode: false,
    // names that are gone from SageMathCell, which pages of its first years still call
    init: (ready: unknown) => {
      if (typeof ready === "function") queueMicrotask(ready as () => void);
    },
    functions: {},
    jQuery: window.jQuery,
  });
  window.singlecell = Object.assign(window.sagecell, {
    makeSinglecell: makeSagecell,
    deleteSinglecell: deleteSagecell,
  });
}
