// Drives kernels with npm's sockjs-client on one transport: node sockjs_client.cjs URL TRANSPORT
// Two kernels share the connection. Prints one JSON document of what happened.
"use strict";
const SockJS = require("sockjs-client");

const [url, transport] = process.argv.slice(2);
const page = "0123456789abcdef0123456789abcdef";

async function start() {
  const answer = await fetch(`${url}/kernel?CellSessionID=${page}&timeout=inf&accepted_tos=true`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  });
  return (await answer.json()).id;
}

async function main() {
  const ids = [await start(), await start()];
  const socket = new SockJS(`${url}/sockjs?CellSessionID=${page}`, null, { transports: [transport] });
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = (event) => reject(new Error(`closed: ${event.code} ${event.reason}`));
  });
  const waiting = new Map();
  socket.onmessage = ({ data }) => {
    const prefix = data.slice(0, data.indexOf(","));
    const message = JSON.parse(data.slice(prefix.length + 1));
    waiting.get(message.parent_header.msg_id)?.(prefix, message);
  };
  let number = 0;
  const send = (prefix, type, content, channel = "shell") => {
    const msg_id = `request${(number += 1)}`;
    const header = { msg_id, msg_type: type, username: "", session: page };
    socket.send(`${prefix},${JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel })}`);
    return msg_id;
  };
  const run = (id, code, started) =>
    new Promise((resolve) => {
      const result = { text: "", types: [] };
      const due = new Set(["execute_reply", "idle"]);
      const asked = send(`${id}/channels`, "execute_request", { code, silent: false, user_expressions: {}, allow_stdin: false });
      waiting.set(asked, (prefix, message) => {
        if (prefix !== `${id}/channels`) throw new Error(`an answer for ${prefix}`);
        result.types.push(message.msg_type);
        if (message.msg_type === "stream") {
          result.text += message.content.text;
          started?.();
        }
        if (message.msg_type === "display_data") result.figure = "image/png" in message.content.data;
        if (message.msg_type === "execute_reply") result.ename = message.content.ename;
        due.delete(message.content.execution_state ?? message.msg_type);
        if (due.size === 0) resolve(result);
      });
    });
  const ask = (type, content) =>
    new Promise((resolve) => {
      waiting.set(send("complete", type, content), (prefix, message) => resolve({ prefix, type: message.msg_type, ...message.content }));
    });

  const seen = { transport: socket.transport };
  const outputs = await Promise.all(ids.map((id, index) => run(id, `x = ${index}\nprint('kernel', x)`)));
  seen.outputs = outputs.map((output) => output.text);
  seen.figure = (await run(ids[0], "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()")).figure;
  seen.unicode = (await run(ids[0], "print('ü\\u2028\\u0000\\ud83d\\ude00<script>')")).text;
  seen.long = (await run(ids[0], "for i in range(20000): print(i)")).text.length;
  const loop = run(ids[1], "import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)", () =>
    send(`${ids[1]}/channels`, "interrupt_request", {}, "control"),
  );
  seen.interrupted = (await loop).ename;
  seen.modern = (await ask("complete_request", { code: "import mat", cursor_pos: 10 })).matches.includes("math");
  seen.legacy = (await ask("complete_request", { text: "pri", line: "pri", cursor_pos: 3, mode: "sage" })).matches.includes("print");
  const help = await ask("object_info_request", { oname: "print", detail_level: 0 });
  seen.help = [help.prefix, help.type, help.found, help.docstring.includes("print")];
  // a kernel that is not there says so instead of saying nothing
  const gone = "00000000-0000-4000-8000-000000000000";
  seen.gone = await new Promise((resolve) => {
    waiting.set(undefined, (prefix, message) => resolve([prefix, message.content.execution_state]));
    send(`${gone}/channels`, "kernel_info_request", {});
  });
  for (const id of ids) await fetch(`${url}/kernel/${id}`, { method: "DELETE" });
  socket.onclose = null;
  socket.close();
  console.log(JSON.stringify(seen));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
