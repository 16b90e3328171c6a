/** Where the server is: found once, while the script tag that loads this bundle runs. */

import { normalizeRoot, rootOfScript } from "./server.js";

/** Return whether `src` is the address of a bundle: under its own name, or with the hash of its content in it. */
function isBundle(src: string, fileName: string): boolean {
  const [stem = "", extension = ""] = fileName.split(".");
  return src.includes(fileName) || new RegExp(`/${stem}-[0-9a-f]{16}\\.${extension}(?:[?#]|$)`).test(src);
}

/** Return the script element of the running bundle, or the last one in the page with its file name. */
function ownScript(fileName: string): HTMLScriptElement | undefined {
  const { currentScript } = document;
  if (currentScript instanceof HTMLScriptElement && isBundle(currentScript.src, fileName)) return currentScript;
  return [...document.querySelectorAll<HTMLScriptElement>("script[src]")].filter((script) => isBundle(script.src, fileName)).at(-1);
}

const scriptRoots = new Map<string, string>();

/** Remember the root that the script tag of this bundle names; call it while the bundle runs. */
export function rememberScript(fileName: string): void {
  const script = ownScript(fileName);
  if (script) scriptRoots.set(fileName, rootOfScript(script.src));
}

/** Return the server's root: what the page said, else its `<link property>`, else the script's own, else the page's origin. */
export function findRoot(said: unknown, property: string, fileName: string): string {
  if (typeof said === "string" && said !== "") return normalizeRoot(said, document.baseURI);
  const link = document.querySelector<HTMLLinkElement>(`link[property="${property}"]`);
  if (link?.href) return normalizeRoot(link.href, document.baseURI);
  return scriptRoots.get(fileName) ?? normalizeRoot("/", document.baseURI);
}
