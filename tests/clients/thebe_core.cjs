// Runs a notebook cell with thebe-core, as it is: node thebe_core.cjs URL
// thebe-core is written for pages; jsdom is the page. What draws widgets is not loaded.
"use strict";
const { JSDOM } = require("jsdom");
const WebSocket = require("ws");

const [url] = process.argv.slice(2);
const dom = new JSDOM("<!doctype html><div id=cell></div>", { url: "http://pages.example/", pretendToBeVisual: true });
const { window } = dom;
for (const name of ["document", "DragEvent", "HTMLElement", "Element", "Node", "MutationObserver", "DOMParser", "Event", "CustomEvent", "requestAnimationFrame", "cancelAnimationFrame", "getComputedStyle", "localStorage"]) {
  globalThis[name] ??= window[name];
}
globalThis.navigator ??= window.navigator;
globalThis.window = window;
globalThis.WebSocket = WebSocket;
Object.assign(window, { fetch, Headers, Request, Response, WebSocket });
window.matchMedia ??= () => ({ matches: false, addEventListener() {}, addListener() {} });
globalThis.DragEvent ??= class DragEvent extends window.Event {};

const Module = require("module");
const load = Module._load;
Module._load = function (name, parent, main) {
  if (name === "./manager" && parent.filename.includes("thebe-core")) return { ThebeManager: class {} };
  if (name.startsWith("@jupyter-widgets/") || name.endsWith(".css")) return {};
  return load.call(this, name, parent, main);
};
const config = require("thebe-core/dist/cjs/config.js");
console.debug = () => undefined;
const ThebeServer = require("thebe-core/dist/cjs/server.js").default;

async function main() {
  const seen = {};
  const settings = new config.Config({
    kernelOptions: { kernelName: "python" },
    serverSettings: { baseUrl: url, appendToken: true },
    savedSessionOptions: { enabled: false },
  });
  const server = new ThebeServer(settings);
  await server.connectToJupyterServer();
  await server.ready;
  const session = await server.startNewSession({ handleCommOpen() {} });
  const { kernel } = session;
  const future = kernel.requestExecute({ code: "print(6 * 7)\nimport matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()" });
  const messages = [];
  future.onIOPub = (message) => messages.push(message);
  await future.done;
  seen.printed = messages.find((message) => message.header.msg_type === "stream")?.content.text;
  seen.figure = messages.some((message) => message.content.data && "image/png" in message.content.data);
  const loop = kernel.requestExecute({ code: "import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)" });
  await new Promise((resolve) => (loop.onIOPub = (message) => message.header.msg_type === "stream" && resolve()));
  await kernel.interrupt();
  seen.interrupted = (await loop.done).content.ename;
  await session.restart();
  seen.restarted = await new Promise((resolve) => {
    const again = kernel.requestExecute({ code: "print('plt' in globals())" });
    again.onIOPub = (message) => message.header.msg_type === "stream" && resolve(message.content.text);
  });
  await session.shutdown();
  console.log(JSON.stringify(seen));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
