/** The part of KaTeX that the frame uses, in a bundle of its own. */

import katex from "katex";

export const render: typeof katex.render = (source, element, options) => {
  katex.render(source, element, options);
};
