// Drives a kernel with @jupyterlab/services, as it is: node jupyterlab_services.cjs URL TOKEN PROTOCOL
// Prints one JSON document of what happened; exits with 1 when something did not.
"use strict";
const WebSocket = require("ws");
const services = require("@jupyterlab/services");

const [url, token, protocol] = process.argv.slice(2);
/** Offers the subprotocols of JupyterLab, or none: servers before 2022 knew none. */
class Offering extends WebSocket {
  constructor(address, protocols) {
    super(address, protocol === "v1" ? protocols : []);
    this.binaryType = "arraybuffer";
  }
}

const serverSettings = services.ServerConnection.makeSettings({
  baseUrl: `${url}/`,
  wsUrl: `${url.replace("http", "ws")}/`,
  token,
  appendToken: token !== "",
  WebSocket: Offering,
});

function text(messages) {
  return messages
    .filter((message) => message.header.msg_type === "stream")
    .map((message) => message.content.text)
    .join("");
}

async function run(kernel, code, options = {}) {
  const messages = [];
  const future = kernel.requestExecute({ code, ...options });
  future.onIOPub = (message) => messages.push(message);
  if (options.allow_stdin) {
    future.onStdin = (message) => kernel.sendInputReply({ value: `answer to ${message.content.prompt}`, status: "ok" }, message.header);
  }
  const reply = await future.done;
  return { reply: reply.content, messages, output: text(messages) };
}

async function main() {
  const seen = {};
  const kernels = new services.KernelManager({ serverSettings });
  const specs = new services.KernelSpecManager({ serverSettings });
  await specs.ready;
  await kernels.ready;
  seen.specs = specs.specs.default;
  const kernel = await kernels.startNew({ name: "python3" });
  seen.info = (await kernel.info).implementation;
  seen.printed = (await run(kernel, "x = 20\nprint(x + 1)")).output;
  const figure = await run(kernel, "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()");
  seen.figure = figure.messages.some((message) => message.content.data && "image/png" in message.content.data);
  seen.error = (await run(kernel, "1/0")).reply.ename;
  seen.answered = (await run(kernel, "print(input('name? '))", { allow_stdin: true })).output;
  seen.completions = (await kernel.requestComplete({ code: "import mat", cursor_pos: 10 })).content.matches.includes("math");

  // a comm with binary buffers, both ways
  const opened = new Promise((resolve) => {
    kernel.registerCommTarget("echo", (comm, message) => {
      comm.onMsg = (answer) => resolve([...new Uint8Array(answer.buffers[0].buffer ?? answer.buffers[0])].slice(-3));
      comm.send({ from: "page" }, {}, [new Uint8Array([1, 2, 3]).buffer]);
    });
  });
  await run(
    kernel,
    [
      "from ipykernel.comm import Comm",
      "comm = Comm(target_name='echo')",
      "comm.on_msg(lambda m: comm.send({'n': len(m['buffers'])}, buffers=[bytes(reversed(bytes(m['buffers'][0])))]))",
    ].join("\n"),
  );
  seen.buffers = await opened;

  const loop = kernel.requestExecute({ code: "import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)" });
  await new Promise((resolve) => (loop.onIOPub = (message) => message.header.msg_type === "stream" && resolve()));
  await kernel.interrupt();
  seen.interrupted = (await loop.done).content.ename;

  const { id } = kernel;
  await kernel.restart();
  seen.sameId = kernel.id === id;
  seen.restarted = (await run(kernel, "print('x' in globals())")).output;
  await kernels.refreshRunning();
  seen.listed = [...kernels.running()].some((model) => model.id === id);
  await kernel.shutdown();
  const sessions = new services.SessionManager({ serverSettings, kernelManager: kernels });
  await sessions.ready;
  const session = await sessions.startNew({ name: "cell", path: "course.ipynb", type: "notebook", kernel: { name: "python" } });
  seen.session = (await run(session.kernel, "print(6 * 7)")).output;
  await session.setName("other");
  seen.renamed = session.name;
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
