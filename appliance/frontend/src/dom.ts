/** Building elements, and putting the cell's styles where they are. */

import styles from "./cell.css";

type Child = Node | string;

/** Make an element with classes, attributes and children. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  classes: string,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (classes !== "") element.className = classes;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make a decorative icon of 16 units square from the data of one path. */
export function icon(path: string): SVGSVGElement {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 16 16");
  picture.setAttribute("class", "ca-icon");
  picture.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  picture.append(shape);
  return picture;
}

let sheet: CSSStyleSheet | undefined;

/** Give `root` the cell's styles, once. Constructed sheets need no permission for inline styles from a page's policy. */
export function adoptStyles(root: Document | ShadowRoot): void {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(styles);
  }
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}
