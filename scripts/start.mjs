// How long a program takes from its start to the answer to its first upgrade:
//
//   node scripts/start.mjs target/alle [ROUNDS]
//
// PostgreSQL is not there: the bridge takes clients without waiting for it.
import { spawn } from "node:child_process";
import { connect } from "node:net";

const program = process.argv[2] ?? "target/alle";
const rounds = Number(process.argv[3] ?? 50);

const upgrade = (port) =>
  "GET /ws HTTP/1.1\r\n" +
  `Host: 127.0.0.1:${port}\r\n` +
  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

// The port, once the log names it.
function port(bridge) {
  return new Promise((resolve, reject) => {
    let log = "";
    bridge.stderr.setEncoding("utf8").on("data", (text) => {
      log += text;
      const found = log.match(/listening on ws:\/\/127\.0\.0\.1:(\d+)\n/);
      if (found) resolve(Number(found[1]));
    });
    bridge.once("error", reject);
    bridge.once("exit", () => reject(new Error(`${program} ended:\n${log}`)));
  });
}

// The status of the answer to the first upgrade.
function status(port) {
  return new Promise((resolve, reject) => {
    const client = connect(port, "127.0.0.1", () => client.write(upgrade(port)));
    client.once("data", (answer) => {
      client.destroy();
      resolve(answer.toString().split(" ")[1]);
    });
    client.once("error", reject);
  });
}

const times = [];
for (let round = 0; round < rounds; round += 1) {
  const began = process.hrtime.bigint();
  const bridge = spawn(program, ["serve", "-p", "postgresql://127.0.0.1:1/none", "-w", "127.0.0.1:0"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env.PATH },
  });
  const answer = await status(await port(bridge));
  times.push(Number(process.hrtime.bigint() - began) / 1e6);
  const ended = new Promise((resolve) => bridge.once("exit", resolve));
  bridge.kill("SIGTERM");
  await ended;
  if (answer !== "101") throw new Error(`the upgrade was answered with ${answer}`);
}
times.sort((a, b) => a - b);
const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1);
console.log(
  `from the start of ${program} to its first upgrade, of ${rounds}: ` +
    `median ${at(0.5)} ms, 95 % ${at(0.95)} ms`,
);
