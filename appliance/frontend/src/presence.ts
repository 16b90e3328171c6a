/**
 * The first sign of a visitor's hand on the page: then what a click will need is prepared for the cell next to it.
 *
 * The first frame for output costs browsers a process, a tenth of a second, which a pointer that comes to the button is
 * often too fast for. Who only opens the page, or has it in the background, pays nothing.
 */

const SIGNS = ["pointermove", "pointerdown", "keydown"] as const;

interface Waiting {
  readonly element: HTMLElement;
  readonly prepare: () => void;
}

const waiting = new Set<Waiting>();

/** Return how far an element is from a height of the window, in CSS pixels; `Infinity` when it is out of sight. */
function distance(element: HTMLElement, height: number): number {
  const { top, bottom } = element.getBoundingClientRect();
  if (!element.isConnected || bottom <= 0 || top >= window.innerHeight || top === bottom) return Infinity;
  return Math.max(top - height, height - bottom, 0);
}

function arrived(event: Event): void {
  for (const sign of SIGNS) window.removeEventListener(sign, arrived, true);
  const height = event instanceof PointerEvent ? event.clientY : 0;
  const [nearest] = [...waiting]
    .map(({ element, prepare }) => ({ prepare, distance: distance(element, height) }))
    .filter((one) => one.distance < Infinity)
    .sort((one, two) => one.distance - two.distance);
  waiting.clear();
  nearest?.prepare();
}

/** Call `prepare` when the first sign of a visitor comes and `element` is what is nearest to it. Returns what forgets about it. */
export function whenSomebodyIsHere(element: HTMLElement, prepare: () => void): () => void {
  const one = { element, prepare };
  if (waiting.size === 0) for (const sign of SIGNS) window.addEventListener(sign, arrived, { capture: true, passive: true });
  waiting.add(one);
  return () => {
    waiting.delete(one);
  };
}
