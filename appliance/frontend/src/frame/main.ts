/** The output frame: shows what its page sends, and reports its height. */

import { batchOf } from "../output_items.js";
import type { FrameReport } from "../output_items.js";
import { WidgetOutputs } from "./widget_outputs.js";
import { widgets } from "./widget_messages.js";

/** Browsers hold back animation frames of frames out of sight; output must arrive there, too. */
const FRAME_MILLISECONDS = 50;

/** A visitor this close to the end of the output is reading the end. */
const BOTTOM_PIXELS = 24;

const script = document.currentScript;
const base = script instanceof HTMLScriptElement ? new URL(".", script.src).href : new URL(".", document.baseURI).href;

function afterPaint(callback: () => void): void {
  let done = false;
  const once = (): void => {
    if (done) return;
    done = true;
    callback();
  };
  requestAnimationFrame(once);
  setTimeout(once, FRAME_MILLISECONDS);
}

function start(container: HTMLElement): void {
  let reported = -1;
  let first = true;

  const height = (): number => Math.max(container.scrollHeight, Math.ceil(container.getBoundingClientRect().height));
  const report = (type: FrameReport["type"]): void => {
    reported = height();
    window.parent.postMessage({ type, height: reported } satisfies FrameReport, "*");
  };
  const measure = (): void => {
    for (const block of container.querySelectorAll<HTMLElement>("pre, .display")) {
      // Output that scrolls sideways must do so by keyboard as well.
      if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
    }
    if (height() !== reported) report("height");
  };

  // What is printed stays in sight, as in a terminal, unless the visitor scrolled up to read.
  const page = document.documentElement;
  const atBottom = (): boolean => page.scrollHeight - page.scrollTop - page.clientHeight < BOTTOM_PIXELS;

  const outputs = new WidgetOutputs(container, base, measure);
  widgets.start(base, outputs, (message) => {
    window.parent.postMessage(message, "*");
  });
  window.addEventListener("message", (event: MessageEvent<unknown>) => {
    if (event.source !== window.parent) return;
    const batch = batchOf(event.data);
    if (!batch) return;
    const followed = atBottom();
    outputs.show(batch.items, batch.dropped);
    const last = batch.items.at(-1)?.kind;
    if (followed && (last === "stream" || last === "error")) page.scrollTop = page.scrollHeight;
    if (first) {
      // The page keeps earlier output in sight until this report.
      first = false;
      report("shown");
      afterPaint(measure);
      return;
    }
    afterPaint(() => {
      report("shown");
      measure();
    });
  });
  new ResizeObserver(measure).observe(container);
  document.addEventListener("load", measure, true);
  document.addEventListener("click", keepInside, true);
  report("ready");
  warmUp();
}

/** Have the first text drawn before there is any: that is when a browser looks for fonts. */
function warmUp(): void {
  const text = document.createElement("pre");
  text.textContent = "0";
  container?.append(text);
  text.getBoundingClientRect();
  text.remove();
}

/** Return what a `data:` address holds (RFC 2397), or `undefined`. This frame may not fetch it. */
function dataOf(address: string): ArrayBuffer | undefined {
  const comma = address.indexOf(",");
  if (comma < 0) return undefined;
  try {
    const text = decodeURIComponent(address.slice(comma + 1));
    if (!/;base64$/i.test(address.slice(0, comma))) return new TextEncoder().encode(text).buffer;
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  } catch {
    return undefined;
  }
}

/** Return the name that a `data:` address gives what it holds, as kernels write them, or "". */
function nameIn(address: string): string {
  const name = /^data:[^,;]*;name=([^,;]*)[,;]/i.exec(address)?.[1] ?? "";
  try {
    return decodeURIComponent(name);
  } catch {
    return "";
  }
}

/** Have the page save a file: this frame may not. */
function offer(name: string, bytes: ArrayBuffer): void {
  window.parent.postMessage({ type: "file", name, bytes }, "*", [bytes]);
}

/** A link would replace the output by a page in a frame too small for it: show its address instead. */
function keepInside(event: Event): void {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (!(link instanceof HTMLAnchorElement) || link.getAttribute("href")?.startsWith("#")) return;
  event.preventDefault();
  if (link.href.startsWith("data:")) {
    const bytes = dataOf(link.href);
    if (bytes) {
      offer(link.download || nameIn(link.href), bytes);
      return;
    }
  }
  if (link.href.startsWith("blob:") && link.hasAttribute("download")) {
    const name = link.download;
    // The address is looked up at once: its maker may revoke it after the click.
    fetch(link.href)
      .then((answer) => answer.arrayBuffer())
      .then((bytes) => {
        offer(name, bytes);
      })
      .catch((error: unknown) => {
        console.error("A file could not be offered.", error);
      });
    return;
  }
  if (link.nextElementSibling?.classList.contains("address")) return;
  const address = document.createElement("span");
  address.className = "address";
  address.textContent = ` (${link.href})`;
  link.after(address);
}

const container = document.getElementById("outputs");
if (container) start(container);
