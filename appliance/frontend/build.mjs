// Bundles src/ into dist/, which the web role serves as /static/.
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

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
  const names = new Set(["katex"]);
  for (const { inputs } of metafiles) {
    for (const input of Object.keys(inputs)) {
      const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (match) names.add(match[1]);
    }
  }
  const texts = [];
  for (const name of [...names].sort()) {
    const folder = path.join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(folder, file), "utf8") : UNSHIPPED[name.split("/")[0]];
    if (!text) throw new Error(`${name} has no licence file to ship`);
    texts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  await writeFile(path.join(dist, "THIRD_PARTY_LICENSES.txt"), texts.join(`\n${"-".repeat(72)}\n\n`));
}

/** KaTeX's style sheet names three formats of each font; every browser the bundles support reads WOFF2. */
async function copyKatex() {
  const css = await readFile(path.join(katex, "dist", "katex.min.css"), "utf8");
  const woff2Only = css.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)/g, "");
  if (/\.(?:woff|ttf)\)/.test(woff2Only)) throw new Error("katex.min.css no longer lists its fonts as expected");
  await writeFile(path.join(dist, "katex.css"), woff2Only);
  await cp(path.join(katex, "dist", "fonts"), path.join(dist, "fonts"), {
    recursive: true,
    filter: (source) => !/\.(?:woff|ttf)$/.test(source),
  });
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const results = await Promise.all([
  build({
    ...common,
    format: "iife",
    entryPoints: [
      { in: "src/embedded_cell.ts", out: "embedded_cell" },
      { in: "src/embedded_sagecell.ts", out: "embedded_sagecell" },
      { in: "src/frame/main.ts", out: "output_frame" },
    ],
  }),
  build({ ...common, format: "esm", entryPoints: [
      { in: "src/frame/katex.ts", out: "katex" },
      { in: "src/frame/marked.ts", out: "marked" },
      { in: "src/modes.ts", out: "modes" },
      { in: "src/frame/widgets.ts", out: "widgets" },
    ] }),
  build({
    ...common,
    loader: { ".css": "css", ".svg": "dataurl", ".png": "dataurl" },
    entryPoints: [
      { in: "src/frame/frame.css", out: "output_frame" },
      { in: "src/frame/widgets.css", out: "widgets" },
      { in: "src/page/page.css", out: "page" },
    ],
  }),
]);
await copyKatex();
await cp(path.join(here, "src", "frame", "output_frame.html"), path.join(dist, "output_frame.html"));
await writeLicences(results.map((result) => result.metafile));
