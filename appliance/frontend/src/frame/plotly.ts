/** plotly.js, in a bundle of its own. */

export { default as plotly } from "plotly.js-dist-min";
