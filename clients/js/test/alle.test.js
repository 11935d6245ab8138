/** The client against a bridge made up by the test: what it says when, and what it makes of answers. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";

import { AlleError, connect } from "../alle.js";
import { World } from "./world.js";

let world;
let alle;
let log;

beforeEach(() => {
  world = new World();
  log = [];
});
afterEach(() => {
  alle?.close();
  world.restore();
});

const SECRET = "a token of sixteen";

function start(options = {}) {
  alle = connect("ws://bridge.test/ws", { WebSocket: world.WebSocket, ...options });
  return alle;
}

/** Connected, and nothing asked for. */
function connected(options) {
  start(options);
  world.open();
}

/** Callbacks that write down what they are told. */
const recording = {
  onGap: ({ reason, epoch, seq }) => log.push(`gap ${reason} ${epoch} ${seq}`),
  onRecovered: ({ epoch, seq }) => log.push(`recovered ${epoch} ${seq}`),
  onSubscribed: ({ epoch, seq }) => log.push(`subscribed ${epoch} ${seq}`),
  onError: ({ code }) => log.push(`error ${code}`),
};

const listen = (channel = "orders", more = {}) =>
  alle.subscribe(channel, (payload) => log.push(payload), { ...recording, ...more });

function confirm(more = {}) {
  const { id, channel } = world.theOne();
  world.say({ type: "subscribed", channel, id, epoch: "e1", seq: 0, ...more });
}

const notify = (payload, seq, channel = "orders") =>
  world.say({ type: "notification", channel, payload, seq });

/** Lost at once, and connected again. */
async function comeBack() {
  world.cut();
  await world.untilNextAttempt();
  world.open();
}

const took = () => log.splice(0);

const outcome = (promise) => promise.then(() => "committed", ({ code }) => code);

test("what is wanted before the connection stands is asked for once it does", () => {
  start();
  listen();
  assert.deepEqual(world.said(), []);
  world.open();
  assert.deepEqual(world.said(), [{ type: "subscribe", channel: "orders", id: 1 }]);
});

test("notifications arrive with their positions, in order", () => {
  connected();
  const seen = [];
  const orders = alle.subscribe("orders", (payload, it) => seen.push([payload, it.seq, it.epoch, it.lossy]));
  assert.equal(orders.position, null);
  confirm({ seq: 7 });
  assert.deepEqual(orders.position, { epoch: "e1", seq: 7 });
  notify("a", 8);
  world.say({ type: "notification", channel: "orders", payload: "b", seq: 9, lossy: true, new: 1 });
  assert.deepEqual(seen, [["a", 8, "e1", false], ["b", 9, "e1", true]]);
  assert.deepEqual(orders.position, { epoch: "e1", seq: 9 });
});

test("a lost connection is resumed at the position", async () => {
  connected();
  listen();
  confirm();
  notify("a", 1);
  await comeBack();
  confirm({ seq: 1, recovered: true });
  notify("b", 2);
  await comeBack();
  const { since } = world.said()[0];
  assert.deepEqual(since, { epoch: "e1", seq: 2 });
  assert.deepEqual(took(), ["subscribed e1 0", "a", "recovered e1 1", "b"]);
});

test("a channel that could not be resumed is told so, and goes on from there", async () => {
  connected();
  const orders = listen();
  confirm();
  await comeBack();
  confirm({ epoch: "e2", seq: 5, recovered: false });
  notify("x", 6);
  assert.deepEqual(took(), ["subscribed e1 0", "gap not_recovered e2 5", "x"]);
  assert.deepEqual(orders.position, { epoch: "e2", seq: 6 });
});

test("a bridge that recovers in an epoch of its own has missed nothing", async () => {
  connected();
  listen();
  confirm({ seq: 3 });
  await comeBack();
  confirm({ epoch: "of a peer", seq: 40, recovered: true });
  notify("x", 41);
  assert.deepEqual(took(), ["subscribed e1 3", "recovered of a peer 40", "x"]);
});

test("a gap moves the position", async () => {
  connected();
  const orders = listen();
  confirm({ seq: 3 });
  world.say({ type: "gap", channel: "orders", epoch: "e2", seq: 0, reason: "postgres_reconnect" });
  notify("x", 1);
  assert.deepEqual(took(), ["subscribed e1 3", "gap postgres_reconnect e2 0", "x"]);
  assert.deepEqual(orders.position, { epoch: "e2", seq: 1 });
});

test("a number that is not the next one is a gap", () => {
  connected();
  listen();
  confirm();
  notify("a", 1);
  notify("c", 3);
  assert.deepEqual(took(), ["subscribed e1 0", "a", "gap out_of_sequence e1 3", "c"]);
});

test("an earlier program's position is resumed", () => {
  connected();
  listen("orders", { since: { epoch: "e1", seq: 4, more: "of a notification" } });
  const { since } = world.socket.sent[0];
  assert.deepEqual(since, { epoch: "e1", seq: 4 });
  confirm({ seq: 4, recovered: true });
  assert.deepEqual(took(), ["recovered e1 4"]);
});

test("subscriptions of one channel share one, and each learns where it stands", async () => {
  connected();
  const first = listen();
  confirm({ seq: 2 });
  const second = listen("orders", { onSubscribed: () => log.push("second") });
  const same = listen("orders", { since: { epoch: "e1", seq: 2 } });
  listen("orders", { since: { epoch: "e1", seq: 1 }, onGap: ({ reason }) => log.push(reason) });
  await world.settle();
  assert.deepEqual(took(), ["subscribed e1 2", "second", "recovered e1 2", "not_recovered"]);
  notify("x", 3);
  assert.deepEqual(took(), ["x", "x", "x", "x"]);
  first.unsubscribe();
  second.unsubscribe();
  assert.deepEqual(world.said(), []);
  notify("y", 4);
  assert.deepEqual(took(), ["y", "y"]);
  same.unsubscribe();
  same.unsubscribe();
  assert.deepEqual(world.said(), []);
});

test("the last one that leaves unsubscribes, and hears nothing more", () => {
  connected();
  const orders = listen();
  confirm();
  orders.unsubscribe();
  assert.deepEqual(world.theOne(), { type: "unsubscribe", channel: "orders" });
  notify("late", 1);
  assert.deepEqual(took(), ["subscribed e1 0"]);
});

test("answers to a subscription that has ended are not taken for the next one's", () => {
  for (const answer of [{ type: "subscribed", epoch: "old", seq: 1 }, { type: "error", code: "cancelled" }]) {
    connected();
    const old = listen();
    const [{ id }] = world.said();
    old.unsubscribe();
    listen();
    world.say({ ...answer, channel: "orders", id });
    notify("old", 2);
    assert.deepEqual(took(), []);
    const asked = world.said();
    assert.deepEqual(asked.map((it) => it.type), ["unsubscribe", "subscribe"]);
    world.say({ type: "subscribed", channel: "orders", id: asked[1].id, epoch: "new", seq: 0 });
    notify("new", 1);
    assert.deepEqual(took(), ["subscribed new 0", "new"]);
    alle.close();
  }
});

test("what a channel is refused for decides whether it is asked for again", async () => {
  for (const [code, isAgain] of [
    ["bad_channel", false], ["bad_message", false], ["forbidden", false], ["too_many_subscriptions", false],
    ["rate_limited", true], ["too_many_channels", true], ["postgres_error", true], ["postgres_down", true],
  ]) {
    connected();
    listen();
    const { id } = world.theOne();
    // Some refusals of a message do not name its channel.
    world.say({ type: "error", code, message: code, id });
    assert.deepEqual(took(), [`error ${code}`]);
    await world.pass(500);
    assert.deepEqual(world.said().map((it) => it.type), isAgain ? ["subscribe"] : [], code);
    alle.close();
  }
});

test("a channel whose LISTEN is refused again is told of, and stays", () => {
  connected();
  listen();
  confirm();
  world.say({ type: "error", code: "postgres_error", sqlstate: "42501", message: "no", channel: "orders" });
  world.say({ type: "gap", channel: "orders", epoch: "e2", seq: 0, reason: "postgres_reconnect" });
  assert.deepEqual(took(), ["subscribed e1 0", "error postgres_error", "gap postgres_reconnect e2 0"]);
});

test("a publish is committed, refused with its code, or of unknown outcome; and never sent twice", async () => {
  connected();
  const committed = alle.publish("orders", "text");
  const refused = alle.publish("orders", { id: 1 });
  const lost = alle.publish("orders", 7);
  const [first, second, third] = world.said();
  assert.deepEqual([first.payload, second.payload, third.payload], ["text", '{"id":1}', "7"]);
  world.say({ type: "notified", channel: "orders", id: first.id });
  world.say({ type: "error", code: "payload_too_large", message: "m", limit: 7999, channel: "orders", id: second.id });
  assert.equal(await committed, undefined);
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof AlleError && error instanceof Error);
    const { name, code, message, limit, channel } = error;
    assert.deepEqual([name, code, message, limit, channel], ["AlleError", "payload_too_large", "m", 7999, "orders"]);
    return true;
  });
  await comeBackWith(outcome(lost), "unknown_outcome");
  assert.deepEqual(world.said(), []);
});

test("what the bridge could not read, or would end the connection for, is refused here and never sent", async () => {
  const half = "😀".slice(0, 1);
  const refusals = async () => {
    const faults = [];
    for (const [channel, payload] of [
      ["orders", half], ["orders", "a" + half + "b"], ["orders", "x".repeat(64_000)], ["orders", "€".repeat(22_000)],
      ["orders", Array(40_000).fill(7)], [half, "a"], ["x".repeat(64), "a"], ["x".repeat(70_000), "a"],
    ]) {
      const error = await alle.publish(channel, payload).then(() => null, (error) => error);
      assert.ok(error instanceof AlleError && error.channel === channel);
      faults.push(error.limit ? `${error.code} ${error.limit}` : error.code);
    }
    return faults;
  };
  const tooLarge = "payload_too_large 7999";
  const expected = [
    "bad_message", "bad_message", tooLarge, tooLarge, tooLarge, "bad_channel", "bad_channel", "bad_channel",
  ];
  start();
  assert.deepEqual(await refusals(), expected);
  world.open();
  assert.deepEqual(await refusals(), expected);
  for (const channel of [half, "x".repeat(64)]) listen(channel);
  assert.deepEqual(took(), [], "not before the program has the subscription");
  await world.settle();
  assert.deepEqual(took(), ["error bad_channel", "error bad_channel"]);
  await comeBack();
  assert.deepEqual(world.said(), []);
  assert.equal(alle.status, "open");
});

test("what the bridge can read is its own to judge", () => {
  connected();
  for (const payload of ["😀", "\u0001".repeat(7_999), "x".repeat(63_998), { half: "\ud83d" }]) {
    const text = typeof payload === "string" ? payload : '{"half":"\\ud83d"}';
    outcome(alle.publish("€".repeat(63), payload));
    const message = world.theOne();
    assert.equal(message.payload, text);
    assert.ok(Buffer.byteLength(JSON.stringify(message)) <= 65_536);
  }
  listen("x".repeat(63));
  assert.equal(world.theOne().type, "subscribe");
});

async function comeBackWith(promise, expected) {
  await comeBack();
  assert.equal(await promise, expected);
}

test("a publish without a connection waits for one, for ten seconds", async () => {
  start();
  const sent = outcome(alle.publish("orders", "a"));
  world.open();
  world.say({ type: "notified", channel: "orders", id: world.theOne().id });
  assert.equal(await sent, "committed");
  world.cut();
  const late = outcome(alle.publish("orders", "b"));
  await world.pass(9_999);
  await world.settle();
  assert.equal(await Promise.race([late, "waits"]), "waits");
  await world.pass(1);
  assert.equal(await late, "not_connected");
  world.open();
  assert.deepEqual(world.said(), []);
});

test("no more than a thousand publishes wait", async () => {
  start();
  const waiting = Array.from({ length: 1_000 }, () => outcome(alle.publish("orders", "a")));
  assert.equal(await outcome(alle.publish("orders", "one more")), "not_connected");
  alle.close();
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["closed"]));
});

test("the wait for the next attempt is a random part of a span from half a second, doubling to thirty", async () => {
  start();
  for (const expected of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    world.cut();
    assert.equal(await world.untilNextAttempt(), expected);
  }
  world.random = 0.1;
  world.cut();
  assert.equal(await world.untilNextAttempt(), 3_000);
  world.random = 1;
  world.open();
  await world.pass(4_999);
  world.cut();
  assert.equal(await world.untilNextAttempt(), 30_000, "a connection of a moment proves nothing");
  world.open();
  await world.pass(5_000);
  world.cut();
  assert.equal(await world.untilNextAttempt(), 500, "one that stood does");
});

test("after a bridge that stops, the first attempt comes within two seconds", async () => {
  connected();
  world.cut(1001);
  assert.equal(await world.untilNextAttempt(), 2_000);
  world.cut(1006);
  assert.equal(await world.untilNextAttempt(), 500);
});

test("close codes decide whether another attempt has a point", async () => {
  const final = { 1002: "protocol_error", 1003: "protocol_error", 1007: "protocol_error", 1009: "protocol_error", 4001: "unauthorized", 4003: "forbidden" };
  for (const code of [1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 4000, 4008, 4999, ...Object.keys(final).map(Number)]) {
    connected({ token: null });
    listen();
    world.cut(code, "why");
    const opened = world.sockets.length;
    const expected = final[code];
    assert.equal(alle.status, expected ? "closed" : "waiting", `${code}`);
    await world.pass(60_000);
    assert.equal(world.sockets.length > opened, !expected, `${code}`);
    assert.deepEqual(took(), expected ? [`error ${expected}`] : [], `${code}`);
    alle.close();
  }
});

test("with a token it says so first, and then asks for what is wanted", () => {
  start({ token: SECRET });
  listen();
  world.open();
  const auth = world.theOne();
  assert.deepEqual(auth, { type: "auth", token: SECRET, id: 1 });
  assert.equal(alle.status, "connecting");
  world.say({ type: "authenticated", id: 1 });
  assert.equal(world.theOne().type, "subscribe");
  assert.equal(alle.status, "open");
});

test("a bridge that wants no token is used without", () => {
  start({ token: SECRET });
  listen();
  world.open();
  world.say({ type: "error", code: "unknown_type", message: "", id: world.theOne().id });
  assert.equal(world.theOne().type, "subscribe");
});

test("a token that is wrong, or missing, ends a client that has no other", () => {
  for (const token of [SECRET, undefined]) {
    start({ token });
    listen();
    world.open();
    world.say({ type: "error", code: "unauthorized", message: "a token is required", id: world.theOne().id });
    assert.equal(alle.status, "closed");
    assert.equal(world.socket.closedWith, 4001);
    assert.deepEqual(took(), ["error unauthorized"]);
  }
});

test("a function is asked for another token once, then with patience", async () => {
  let count = 0;
  start({ token: async () => `token ${++count}` });
  await world.settle();
  for (const [code, expected] of [[1006, 500], [4001, 500], [4001, 1_000], [4001, 2_000]]) {
    world.open();
    assert.equal(world.theOne().token, `token ${count}`);
    world.cut(code, "token");
    assert.equal(await world.untilNextAttempt(), expected);
  }
  assert.equal(count, 5);
  world.open();
  world.say({ type: "authenticated", id: world.theOne().id });
  await world.pass(5_000);
  world.cut(4001, "token");
  assert.equal(await world.untilNextAttempt(), 500, "a token that was good for a while");
});

test("a function that fails is asked again, and one that hangs is not waited for without end", async () => {
  let answer = () => Promise.reject(new Error("no network"));
  start({ token: () => answer(), onStatus: (status, { reason }) => log.push(`${status} ${reason}`) });
  await world.settle();
  assert.deepEqual(took(), ["waiting Error: no network"]);
  answer = () => new Promise(() => {});
  await world.pass(500 + 20_000);
  assert.deepEqual(took(), ["connecting undefined", "waiting no connection in time"]);
  answer = () => SECRET;
  assert.equal(await world.untilNextAttempt(), 1_000);
});

test("a token that is about to expire is replaced while the connection stands", async () => {
  let count = 0;
  start({ token: () => `token ${++count}` });
  await world.settle();
  listen();
  world.open();
  world.say({ type: "authenticated", id: world.theOne().id });
  confirm();
  world.say({ type: "auth_expiring", in: 60 });
  await world.settle();
  const renewal = world.theOne();
  assert.deepEqual([renewal.type, renewal.token], ["auth", "token 2"]);
  world.say({ type: "authenticated", id: renewal.id });
  assert.deepEqual(world.said(), []);
  world.say({ type: "auth_expiring", in: 60 });
  await world.settle();
  world.say({ type: "error", code: "unauthorized", message: "", id: world.theOne().id });
  assert.equal(alle.status, "open", "the bridge decides when the old one ends");
  assert.deepEqual(took(), ["subscribed e1 0"]);
});

test("a network that is back ends the wait, and its length", async () => {
  start();
  for (let attempt = 0; attempt < 6; attempt++) {
    world.cut();
    await world.untilNextAttempt();
  }
  world.cut();
  const before = world.sockets.length;
  world.dispatch("online");
  await world.settle();
  assert.equal(world.sockets.length, before + 1);
  world.cut();
  assert.equal(await world.untilNextAttempt(), 500);
});

test("a page that is looked at again tries at once, and one that is not is left connected", async () => {
  connected();
  document.visibilityState = "hidden";
  world.dispatch("visibilitychange");
  await world.pass(1_000);
  assert.deepEqual([world.socket.closedWith, world.said()], [null, []]);
  document.visibilityState = "visible";
  world.dispatch("visibilitychange");
  assert.deepEqual(world.theOne(), { type: "ping" });
  await world.pass(10_000);
  assert.equal(world.sockets[0].closedWith, 4000, "it was dead");
  assert.equal(alle.status, "waiting");
  world.dispatch("visibilitychange");
  await world.settle();
  assert.equal(world.sockets.length, 2);
});

test("silence is asked about, and an answer of any kind is enough", async () => {
  connected();
  listen();
  confirm();
  await world.pass(19_999);
  assert.deepEqual(world.said(), []);
  await world.pass(1);
  assert.deepEqual(world.theOne(), { type: "ping" });
  await world.pass(9_999);
  notify("a", 1);
  await world.pass(1 + 20_000);
  assert.deepEqual(world.theOne(), { type: "ping" });
  await world.pass(10_000);
  assert.equal(world.sockets[0].closedWith, 4000);
  assert.equal(alle.status, "waiting");
});

test("a page that slept asks once more before it gives a connection up", async () => {
  connected();
  await world.pass(20_000);
  assert.deepEqual(world.theOne(), { type: "ping" });
  await world.sleep(3_600_000);
  assert.deepEqual(world.theOne(), { type: "ping" });
  world.say({ type: "pong" });
  await world.pass(10_000);
  assert.equal(alle.status, "open");
});

test("an attempt that comes to nothing is given up after twenty seconds", async () => {
  start();
  await world.pass(20_000);
  assert.equal(world.socket.closedWith, 4000);
  assert.equal(await world.untilNextAttempt(), 500);
});

test("what an earlier connection still says is not heard", async () => {
  connected();
  listen();
  confirm();
  const [old] = world.sockets;
  await comeBack();
  old.onmessage({ data: '{"type":"notification","channel":"orders","payload":"old","seq":1}' });
  old.onclose({ code: 1006 });
  assert.deepEqual(took(), ["subscribed e1 0"]);
  assert.equal(alle.status, "open");
});

test("close is the end: with 1000, and without another call", async () => {
  connected({ onStatus: (status) => log.push(status) });
  listen();
  confirm();
  const lost = outcome(alle.publish("orders", "a"));
  took();
  alle.close();
  alle.close();
  world.socket.onmessage({ data: '{"type":"notification","channel":"orders","payload":"late","seq":1}' });
  assert.equal(world.socket.closedWith, 1000);
  assert.deepEqual(took(), ["closed"]);
  assert.equal(await lost, "unknown_outcome");
  assert.equal(await outcome(alle.publish("orders", "b")), "closed");
  listen();
  await world.settle();
  assert.deepEqual(took(), ["error closed"]);
  assert.equal(world.listeners.size, 0);
  await world.pass(100_000);
  assert.equal(world.sockets.length, 1);
});

test("the status, and PostgreSQL's, are told as they change", async () => {
  start({ onStatus: (status, { postgres, code, delay }) => log.push([status, postgres, code, delay]) });
  assert.deepEqual([alle.status, alle.postgres, took()], ["connecting", "unknown", []]);
  world.open();
  world.say({ type: "status", postgres: "down" });
  assert.equal(alle.postgres, "down");
  world.say({ type: "status", postgres: "up" });
  world.cut(4008, "slow consumer");
  await world.pass(500);
  assert.deepEqual(took(), [
    ["open", "up", undefined, undefined], ["open", "down", undefined, undefined], ["open", "up", undefined, undefined],
    ["waiting", "unknown", 4008, 500], ["connecting", "unknown", undefined, undefined],
  ]);
});

test("a callback that throws harms no other, and is reported", async () => {
  connected();
  alle.subscribe("orders", () => { throw new Error("mine"); });
  listen();
  confirm();
  notify("a", 1);
  assert.deepEqual(took(), ["subscribed e1 0", "a"]);
  await assert.rejects(() => world.pass(0), /mine/);
});

test("types that are not known are passed over", () => {
  connected();
  for (const type of ["news", "constructor", "toString", "__proto__", undefined, 5]) world.say({ type });
  assert.equal(alle.status, "open");
});

test("the URL may be a page's, and without one it is that of the module", () => {
  for (const [url, expected] of [
    ["http://bridge.test:8080", "ws://bridge.test:8080/"],
    ["https://bridge.test/live/", "wss://bridge.test/live/"],
    [new URL("wss://bridge.test/ws"), "wss://bridge.test/ws"],
  ]) {
    connect(url, { WebSocket: world.WebSocket }).close();
    assert.equal(world.socket.url, expected);
  }
  assert.throws(() => connect("nonsense", { WebSocket: world.WebSocket }), TypeError);
  globalThis.location = { href: "https://app.test/shop/page" };
  try {
    connect("../live/ws", { WebSocket: world.WebSocket }).close();
  } finally {
    delete globalThis.location;
  }
  assert.equal(world.socket.url, "wss://app.test/live/ws");
});

test("the package has the version of the bridge", () => {
  const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
  const [, version] = read("../../../Cargo.toml").match(/^version = "(.*)"$/m);
  assert.equal(JSON.parse(read("../package.json")).version, version);
});

/** Without npm: comments and indentation go, and no name becomes shorter, so that a minifier does better. */
test("it has at most 350 lines, and 4 KB minified and compressed", () => {
  const source = readFileSync(new URL("../alle.js", import.meta.url), "utf8");
  assert.ok(source.trimEnd().split("\n").length <= 350);
  const code = source.replace(/\/\*\*[^]*?\*\//g, "").replace(/^\s*\/\/.*$|^\s+/gm, "").replace(/\n+/g, "\n");
  const bytes = gzipSync(code, { level: 9 }).length;
  assert.ok(bytes <= 4_096, `${bytes} bytes`);
});
