// Bundles src/ into dist/, which the web role and nginx serve as /static/.
//
// A file that pages of others name keeps its name (embedded_cell.js, embedded_sagecell.js, output_frame.html, and what
// pages made for SageMathCell load beside its script: jquery.min.js, sagecell_embed.css); every other one has a hash of its content in its name, so that browsers may keep it for ever. assets.json says which is which.
// Beside each text lie two compressed ones, .br and .gz, which are sent as they are.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, "dist");
const katex = path.join(here, "node_modules", "katex");

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  outdir: "dist",
  target: ["chrome105", "firefox110", "safari16.4"],
  loader: { ".css": "text" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};

/** Packages that name their licence and do not bring its text: whose they are, with the text of SPDX. */
const UNSHIPPED = {
  "@jupyter-widgets": bsd3("Project Jupyter Contributors"),
  "@lumino": bsd3("Project Jupyter Contributors"),
};

function bsd3(holder) {
  return `Copyright (c) ${holder}. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
disclaimer in the documentation and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote products
derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES;
LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN
CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.`;
}

/** Write the licences of every package whose code is in the bundles, as they ask. */
async function writeLicences(metafiles) {
  const packages = new Set(["jquery", "katex"]);
  for (const { inputs } of metafiles) {
    for (const input of Object.keys(inputs)) {
      const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (match) packages.add(match[1]);
    }
  }
  const texts = [];
  for (const name of [...packages].sort()) {
    const folder = path.join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(folder, file), "utf8") : UNSHIPPED[name.split("/")[0]];
    if (!text) throw new Error(`${name} has no licence file to ship`);
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  await write("THIRD_PARTY_LICENSES.txt", texts.join(`\n${"-".repeat(72)}\n\n`));
}

/** The name of each file in dist/ whose own name is not fixed. */
const names = {};

/** Texts smaller than this are not worth a second file. */
const LEAST_COMPRESSED_BYTES = 1024;

/** Write a file, and the same compressed where that is worth it. */
async function write(name, contents) {
  const data = Buffer.from(contents);
  await writeFile(path.join(dist, name), data);
  if (!/\.(?:js|css|html|svg|json|txt)$/.test(name) || data.length < LEAST_COMPRESSED_BYTES) return;
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: data.length } };
  await writeFile(path.join(dist, `${name}.br`), brotliCompressSync(data, options));
  await writeFile(path.join(dist, `${name}.gz`), gzipSync(data, { level: 9 }));
}

/** Write a file under a name with the hash of its content, and remember that name. */
async function writeHashed(name, contents) {
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 16);
  const { dir, name: stem, ext } = path.parse(name);
  names[name] = path.join(dir, `${stem}-${hash}${ext}`);
  await write(names[name], contents);
}

/** Icons of buttons: the fonts that the style sheets of Font Awesome name lie beside them in a folder of their own. */
const awesome = path.join(here, "node_modules", "@fortawesome", "fontawesome-free", "webfonts");
const ICON_FONTS = ["fa-regular-400.woff2", "fa-solid-900.woff2"];

async function copyIconFonts() {
  for (const font of ICON_FONTS) await writeHashed(`fonts/${font}`, await readFile(path.join(awesome, font)));
}

/** Name the fonts of icons in a style sheet as they are named in dist/. */
function withIconFonts(css) {
  return css.replace(/url\("?[^)"]*\/webfonts\/([^)"]+)"?\)/g, (_, font) => {
    const name = names[`fonts/${font}`];
    if (!name) throw new Error(`a style sheet names the font ${font}, which is not there`);
    return `url(${name})`;
  });
}

/** KaTeX's style sheet names three formats of each font; every browser the bundles support reads WOFF2. */
async function copyKatex() {
  const fonts = path.join(katex, "dist", "fonts");
  await mkdir(path.join(dist, "fonts"));
  for (const font of (await readdir(fonts)).filter((entry) => entry.endsWith(".woff2")).sort()) {
    await writeHashed(`fonts/${font}`, await readFile(path.join(fonts, font)));
  }
  const css = await readFile(path.join(katex, "dist", "katex.min.css"), "utf8");
  const woff2Only = css.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)/g, "");
  if (/\.(?:woff|ttf)\)/.test(woff2Only)) throw new Error("katex.min.css no longer lists its fonts as expected");
  const hashed = woff2Only.replace(/url\((fonts\/[^)]+\.woff2)\)/g, (_, font) => `url(${names[font]})`);
  if (hashed.includes("undefined")) throw new Error("katex.min.css names a font that is not there");
  await writeHashed("katex.css", hashed);
}

const metafiles = [];

/** Bundle entry points and hand each result to `keep`, by its name. */
async function bundle(options, keep) {
  const result = await build({
    ...common,
    ...options,
    write: false,
    // fonts are named by KaTeX's style sheet alone
    define: { ASSET_NAMES: JSON.stringify(Object.fromEntries(Object.entries(names).filter(([name]) => !name.startsWith("fonts/")))) },
  });
  metafiles.push(result.metafile);
  for (const file of result.outputFiles) await keep(path.relative(dist, file.path), file.contents);
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
// What is loaded by others comes first, so that they know its name.
await copyKatex();
await copyIconFonts();
await bundle(
  {
    format: "esm",
    entryPoints: [
      { in: "src/frame/katex.ts", out: "katex" },
      { in: "src/frame/marked.ts", out: "marked" },
      { in: "src/modes.ts", out: "modes" },
      { in: "src/frame/widgets.ts", out: "widgets" },
    ],
  },
  writeHashed,
);
// plotly.js is a bundle of many packages already, which name their licences in comments alone.
await bundle({ format: "esm", legalComments: "eof", entryPoints: [{ in: "src/frame/plotly.ts", out: "plotly" }] }, writeHashed);
// What builds on the widgets takes their classes from that very file.
const overWidgets = {
  name: "over-widgets",
  setup(build) {
    build.onResolve({ filter: /^@jupyter-widgets\/base$/ }, () => ({ path: `./${names["widgets.js"]}`, external: true }));
  },
};
await bundle(
  { format: "esm", plugins: [overWidgets], entryPoints: [{ in: "src/frame/matplotlib.ts", out: "matplotlib" }] },
  writeHashed,
);
await bundle(
  {
    loader: { ".css": "css", ".svg": "dataurl", ".png": "dataurl" },
    external: ["*.woff2"],
    entryPoints: [
      { in: "src/frame/frame.css", out: "output_frame" },
      { in: "src/frame/widgets.css", out: "widgets" },
      { in: "src/page/page.css", out: "page" },
    ],
  },
  (name, contents) => writeHashed(name, withIconFonts(Buffer.from(contents).toString())),
);
await bundle({ format: "iife", entryPoints: [{ in: "src/frame/main.ts", out: "output_frame" }] }, writeHashed);
await bundle(
  {
    format: "iife",
    entryPoints: [
      { in: "src/embedded_cell.ts", out: "embedded_cell" },
      { in: "src/embedded_sagecell.ts", out: "embedded_sagecell" },
    ],
  },
  async (name, contents) => {
    await write(name, contents);
    // the server's own page names it by its hash
    if (name === "embedded_cell.js") await writeHashed(name, contents);
  },
);
await write("jquery.min.js", await readFile(path.join(here, "node_modules", "jquery", "dist", "jquery.min.js")));
await write("sagecell_embed.css", "/* Cells bring their styles themselves; pages made for SageMathCell ask for this file. */\n");
let frame = await readFile(path.join(here, "src", "frame", "output_frame.html"), "utf8");
for (const name of ["output_frame.css", "output_frame.js"]) {
  if (!frame.includes(`"${name}"`)) throw new Error(`output_frame.html does not name ${name}`);
  frame = frame.replace(`"${name}"`, `"${names[name]}"`);
}
await write("output_frame.html", frame);
await writeLicences(metafiles);
await write("assets.json", `${JSON.stringify(Object.fromEntries(Object.entries(names).sort()), undefined, 1)}\n`);
