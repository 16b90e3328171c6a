/**
 * `$` and `jQuery` for pages that count on SageMathCell's script bringing them: what those pages do with it to make cells
 * and to find them again. A page that needs more loads jQuery itself, which then stays as it is.
 */

type Handler = (this: Element, event: Event) => void;

/** A list of elements with the few methods that pages with cells use. */
export class Collection extends Array<Element> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  get(index: number): Element | undefined {
    return this.at(index);
  }

  each(visit: (this: Element, index: number, element: Element) => void): this {
    for (const [index, element] of [...this].entries()) visit.call(element, index, element);
    return this;
  }

  first(): Collection {
    return collect(this.slice(0, 1));
  }

  // @ts-expect-error -- jQuery's find takes a selector, an array's a predicate
  override find(selector: string): Collection {
    return collect([...new Set([...this].flatMap((element) => [...element.querySelectorAll(selector)]))]);
  }

  on(type: string, handler: Handler): this {
    return this.each((_, element) => {
      element.addEventListener(type, (event) => {
        handler.call(element, event);
      });
    });
  }

  click(handler?: Handler): this {
    if (handler) return this.on("click", handler);
    return this.each((_, element) => {
      if (element instanceof HTMLElement) element.click();
    });
  }

  ready(run: () => void): this {
    whenRead(run);
    return this;
  }

  html(): string | undefined {
    return this.at(0)?.innerHTML;
  }

  text(): string {
    return [...this].map((element) => element.textContent).join("");
  }

  val(): string | undefined {
    const element = this.at(0);
    return element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement ? element.value : undefined;
  }

  attr(name: string): string | undefined {
    return this.at(0)?.getAttribute(name) ?? undefined;
  }

  hide(): this {
    return this.each((_, element) => {
      if (element instanceof HTMLElement) element.hidden = true;
    });
  }

  show(): this {
    return this.each((_, element) => {
      if (element instanceof HTMLElement) element.hidden = false;
    });
  }

  addClass(name: string): this {
    return this.each((_, element) => {
      element.classList.add(...name.split(/\s+/));
    });
  }

  removeClass(name: string): this {
    return this.each((_, element) => {
      element.classList.remove(...name.split(/\s+/));
    });
  }

  remove(): this {
    return this.each((_, element) => {
      element.remove();
    });
  }
}

function collect(elements: readonly Element[]): Collection {
  const collection = new Collection();
  collection.push(...elements);
  return collection;
}

function whenRead(run: () => void): void {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", run, { once: true });
  else queueMicrotask(run);
}

/** Run a function when the page is read, or return the elements that a selector, an element or a list means. */
export function small(what?: unknown): Collection {
  if (typeof what === "function") {
    whenRead(() => {
      (what as (dollar: typeof small) => void)(small);
    });
    return collect([]);
  }
  if (typeof what === "string") return collect([...document.querySelectorAll(what)]);
  if (what instanceof Element) return collect([what]);
  if (Array.isArray(what)) return collect(what.filter((item) => item instanceof Element));
  return collect([]);
}

declare global {
  interface Window {
    $?: unknown;
    jQuery?: unknown;
  }
}

/** Put `$` and `jQuery` where the page has none. */
export function provideJQuery(): void {
  window.jQuery ??= small;
  window.$ ??= window.jQuery;
}
