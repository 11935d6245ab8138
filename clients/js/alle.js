/**
 * A client of alle: PostgreSQL's notifications, in pages and in Node.
 *
 * Keeps one connection, comes back by itself, and resumes each channel at its position. What was
 * missed is delivered in order, or `onGap` is called. `alle.d.ts` has what each call promises.
 */

/** In milliseconds: how long something is waited for. */
const SILENCE = 20_000, PONG = 10_000, CONNECT = 20_000, STABLE = 5_000, PUBLISH = 10_000;
const BACKOFF_MIN = 500, BACKOFF_MAX = 30_000, RESTART = 2_000;
const WAITING_MAX = 1_000, PAYLOAD_MAX = 64_000; // In JSON: at most six bytes for one of 7,999.
/** Close codes after which the same would only happen again. */
const FINAL_CODES = [1002, 1003, 1007, 1009, 4003];
/** Refusals of a channel that asking again does not change. */
const FINAL_ERRORS = ["bad_channel", "bad_message", "forbidden", "too_many_subscriptions"];

export class AlleError extends Error {
  name = "AlleError";
  constructor(code, message, more) { Object.assign(super(message), more, { code }); }
}

export const connect = (url, options) => new Client(url, options);

/** A random part of a span that doubles with each attempt ("full jitter"). */
const jitter = (attempt) => Math.random() * Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** attempt);

const onGap = (gap) => console.warn(`alle: '${gap.channel}' may miss notifications`, gap);
const onError = (error) => console.error(`alle: ${error.message}`, error);
const fault = (code, message, channel) => new AlleError(code, message, { channel });
const closed = () => fault("closed", "the client is closed");
const isSame = (one, other) => one.epoch === other.epoch && one.seq === other.seq;
const positionOf = ({ epoch, seq }) => ({ epoch, seq });

/** Why something is not sent: what the bridge could not read, or would end the connection for. */
function faultOf(channel, payload = "") {
  const isBroken = (text) => /\p{Surrogate}/u.test(text); // Half a character.
  const isName = !isBroken(channel) && !(channel?.length > 63);
  if (!isName) return fault("bad_channel", "too long, or with a lone surrogate", channel);
  if (isBroken(payload)) return fault("bad_message", "the payload has a lone surrogate", channel);
  if (new TextEncoder().encode(JSON.stringify(payload)).length <= PAYLOAD_MAX) return null;
  return Object.assign(fault("payload_too_large", "payload too large", channel), { limit: 7_999 });
}

/** A program's function: its fault is the program's, and reported as such, but never ours. */
function call(callback, ...values) {
  try { callback?.(...values); } catch (error) { setTimeout(() => { throw error; }); }
}

class Client {
  #url; #token; #onStatus; #WebSocket;
  #status = "connecting"; #postgres = "unknown";
  /** name -> { name, listeners, position, isLive, attempt, timer }: what is wanted, always. */
  #channels = new Map();
  /** id -> { channel, since } of a subscribe, { ticket } of a publish, { isRenewal } of an auth. */
  #requests = new Map(); #lastId = 0;
  #waiting = new Set(); // Publishes that were not sent yet.
  /** The attempt that runs: what an earlier one still reports is nobody's concern. */
  #attempt = null; #socket = null; #isReady = false; #readyAt = 0;
  #failures = 0; #isRefused = false;
  /** How many messages came: the proof that the connection lives. */
  #heard = 0; #heardAt = 0;
  /** One at a time: until the next attempt, for this one, until a ping, or for its pong. */
  #timer;

  constructor(url, { token, onStatus, WebSocket = globalThis.WebSocket } = {}) {
    if (!WebSocket) throw new TypeError("no WebSocket here: pass one as the option WebSocket");
    // By default the bridge that this file came from.
    this.#url = new URL(url ?? new URL("ws", import.meta.url), globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    [this.#token, this.#onStatus, this.#WebSocket] = [token, onStatus, WebSocket];
    this.#heed("addEventListener");
    this.#open();
  }

  get status() { return this.#status; }
  get postgres() { return this.#postgres; }

  subscribe(name, onMessage, callbacks) {
    let channel = this.#channels.get(name);
    const wrong = faultOf(name);
    const isNew = !channel && !wrong;
    channel ??= { name, listeners: new Set(), position: null, isLive: false, attempt: 0 };
    const listener = { onMessage, onGap, onError, ...callbacks, isConfirmed: false };
    channel.listeners.add(listener);
    if (isNew && this.#status !== "closed") {
      this.#channels.set(name, channel);
      if (this.#isReady) this.#ask(channel);
    }
    // Not before the program has what this returns.
    queueMicrotask(() => {
      if (this.#status === "closed" || wrong) this.#tell(channel, "onError", wrong ?? closed());
      else if (channel.isLive) this.#confirm(channel, listener, channel.position);
    });
    return {
      channel: name,
      get position() { return channel.position && positionOf(channel.position); },
      unsubscribe: () => {
        channel.listeners.delete(listener);
        if (channel.listeners.size > 0 || this.#channels.get(name) !== channel) return;
        clearTimeout(channel.timer);
        this.#channels.delete(name);
        if (this.#isReady) this.#send({ type: "unsubscribe", channel: name });
      },
    };
  }

  publish(channel, payload) {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    return new Promise((resolve, reject) => {
      const ticket = { message: { type: "notify", channel, payload: text }, resolve, reject };
      const wrong = faultOf(channel, text) ?? (this.#status === "closed" ? closed() : null);
      if (wrong) return reject(wrong);
      if (this.#isReady) return this.#request(ticket.message, { ticket });
      const refuse = (why) => reject(fault("not_connected", `not sent: ${why}`, channel));
      if (this.#waiting.size >= WAITING_MAX) return refuse("too many publishes wait");
      this.#waiting.add(ticket);
      const giveUp = () => this.#waiting.delete(ticket) && refuse("there is no connection");
      ticket.timer = setTimeout(giveUp, PUBLISH);
    });
  }

  close() {
    if (this.#status === "closed") return;
    this.#disconnect(1000);
    this.#end(closed());
  }

  async #open() {
    const attempt = (this.#attempt = {});
    const isOver = () => this.#attempt !== attempt;
    this.#setTimer(CONNECT, () => this.#lose(1006, "no connection in time"));
    if (this.#status !== "connecting") this.#report("connecting"); // Else nobody has it yet.
    let socket;
    try {
      const token = typeof this.#token === "function" ? await this.#token() : this.#token;
      if (isOver()) return;
      socket = new this.#WebSocket(this.#url.href);
      socket.onopen = () => {
        if (isOver()) return;
        this.#postgres = "up";
        if (token == null) this.#begin();
        else this.#request({ type: "auth", token }, { isRenewal: false });
      };
    } catch (error) {
      return isOver() || this.#lose(1006, String(error));
    }
    this.#socket = socket;
    socket.onmessage = ({ data }) => isOver() || this.#receive(data);
    socket.onerror = () => {}; // The close says as much.
    socket.onclose = ({ code, reason }) => isOver() || this.#lose(code, reason);
  }

  /** The bridge takes requests: all that is wanted is asked for. */
  #begin() {
    this.#isReady = true;
    this.#readyAt = this.#heardAt = Date.now();
    this.#listen();
    for (const channel of this.#channels.values()) this.#ask(channel);
    for (const ticket of this.#unwait()) this.#request(ticket.message, { ticket });
    this.#report("open");
  }

  /** Ends the connection without a further word of it. */
  #disconnect(code) {
    [this.#attempt, this.#isReady, this.#postgres] = [null, false, "unknown"];
    clearTimeout(this.#timer);
    this.#socket?.close(code);
    this.#socket = null;
    for (const channel of this.#channels.values()) {
      channel.isLive = false;
      clearTimeout(channel.timer);
    }
    const lost = "the connection was lost before the answer: it may be committed, or not";
    const fail = (it) => it.reject(fault("unknown_outcome", lost, it.message.channel));
    for (const { ticket } of this.#requests.values()) if (ticket) fail(ticket);
    this.#requests.clear();
  }

  #lose(code, reason) {
    const isStable = this.#isReady && Date.now() - this.#readyAt >= STABLE;
    if (isStable) [this.#failures, this.#isRefused] = [0, false];
    const isToken = code === 4001;
    const isFinal = isToken ? typeof this.#token !== "function" : FINAL_CODES.includes(code);
    this.#disconnect(isFinal ? 4001 : 4000);
    if (isFinal) {
      const name = { 4001: "unauthorized", 4003: "forbidden" }[code] ?? "protocol_error";
      return this.#end(new AlleError(name, reason || `closed with ${code}`), { code, reason });
    }
    const delay = isToken && !this.#isRefused ? jitter(0)
      : code === 1001 ? Math.random() * RESTART : jitter(this.#failures++);
    this.#isRefused ||= isToken;
    this.#setTimer(delay, () => this.#open());
    this.#report("waiting", { code, reason, delay });
  }

  /** For good. */
  #end(error, detail) {
    this.#heed("removeEventListener");
    for (const { reject } of this.#unwait()) reject(error);
    this.#report("closed", detail);
    for (const channel of this.#channels.values()) {
      if (detail) this.#tell(channel, "onError", error);
      channel.listeners.clear();
    }
    this.#channels.clear();
  }

  #report(status, detail) {
    this.#status = status;
    call(this.#onStatus, status, { postgres: this.#postgres, ...detail });
  }

  /** The network is back, or somebody looks: no wait, and no trust in what may be dead. */
  #wake = ({ type }) => {
    if (type === "online") this.#failures = 0;
    else if (globalThis.document.visibilityState !== "visible") return;
    if (this.#status === "waiting") this.#open();
    else if (this.#isReady) this.#ping(2);
  };

  #heed(verb) {
    globalThis[verb]?.("online", this.#wake);
    globalThis.document?.[verb]("visibilitychange", this.#wake);
  }

  #unwait() {
    const tickets = [...this.#waiting];
    this.#waiting.clear();
    for (const { timer } of tickets) clearTimeout(timer);
    return tickets;
  }

  #setTimer(delay, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, delay);
  }

  /** A page does not see WebSocket's pings, and a dead network closes nothing. */
  #listen() {
    const left = this.#heardAt + SILENCE - Date.now();
    if (left > 0) this.#setTimer(left, () => this.#listen());
    else this.#ping(2);
  }

  #ping(tries) {
    const heard = this.#heard, due = Date.now() + 2 * PONG;
    this.#send({ type: "ping" });
    this.#setTimer(PONG, () => {
      if (heard !== this.#heard) this.#listen();
      // The page slept over its timer, and the answer may wait behind it.
      else if (tries > 1 && Date.now() > due) this.#ping(tries - 1);
      else this.#lose(1006, "no answer to a ping");
    });
  }

  #send(message) { this.#socket.send(JSON.stringify(message)); }

  #request(message, about) {
    const id = ++this.#lastId;
    this.#requests.set(id, about);
    this.#send({ ...message, id });
  }

  #ask(channel) {
    const asked = channel.position ?? [...channel.listeners].find(({ since }) => since)?.since;
    const since = asked && positionOf(asked);
    this.#request({ type: "subscribe", channel: channel.name, since }, { channel, since });
  }

  #tell(channel, name, ...values) {
    for (const it of [...channel.listeners]) channel.listeners.has(it) && call(it[name], ...values);
  }

  /** A listener learns where it stands, after the answer to what was asked since `asked`. */
  #confirm(channel, listener, answer, asked) {
    const since = listener.isConfirmed ? asked : listener.since;
    if (!channel.listeners.has(listener) || (listener.isConfirmed && !since)) return;
    listener.isConfirmed = true;
    const position = { channel: channel.name, ...positionOf(answer) };
    if (!since) call(listener.onSubscribed, position);
    else if (isSame(since, answer) || (answer.recovered && isSame(since, asked))) {
      call(listener.onRecovered, position);
    } else call(listener.onGap, { ...position, reason: "not_recovered" });
  }

  #receive(data) {
    this.#heard += 1;
    this.#heardAt = Date.now();
    const message = JSON.parse(data);
    const asked = this.#requests.get(message.id);
    this.#requests.delete(message.id);
    const channel = this.#channels.get(asked?.channel?.name ?? message.channel);
    // An answer to a subscription that has ended: another one of that name has its own.
    if (asked?.channel && asked.channel !== channel) return;
    this.#handlers[message.type]?.(message, asked, channel);
  }

  /** Types that are not known are none of our business. */
  #handlers = {
    __proto__: null,
    notification: ({ payload, seq, lossy = false }, _, channel) => {
      // Before `subscribed` it is for an earlier subscription of the name.
      if (!channel?.isLive) return;
      const { name, position } = channel;
      const isNext = seq === position.seq + 1;
      const about = { channel: name, epoch: position.epoch, seq };
      position.seq = seq;
      if (!isNext) this.#tell(channel, "onGap", { ...about, reason: "out_of_sequence" });
      this.#tell(channel, "onMessage", payload, { ...about, payload, lossy });
    },
    subscribed: (message, asked, channel) => {
      if (!asked) return;
      Object.assign(channel, { isLive: true, attempt: 0, position: positionOf(message) });
      for (const it of [...channel.listeners]) this.#confirm(channel, it, message, asked.since);
    },
    gap: ({ epoch, seq, reason }, _, channel) => {
      if (!channel?.isLive) return;
      channel.position = { epoch, seq };
      this.#tell(channel, "onGap", { channel: channel.name, epoch, seq, reason });
    },
    status: ({ postgres }) => {
      this.#postgres = postgres;
      if (this.#isReady) this.#report("open");
    },
    notified: (_, asked) => asked?.ticket?.resolve(),
    authenticated: (_, asked) => asked?.isRenewal === false && this.#begin(),
    auth_expiring: async () => {
      const attempt = this.#attempt;
      if (typeof this.#token !== "function") return;
      // Without another one the bridge closes with 4001, and it is asked for again.
      const token = await Promise.resolve().then(this.#token).catch(() => null);
      if (token == null || attempt !== this.#attempt) return;
      this.#request({ type: "auth", token }, { isRenewal: true });
    },
    error: ({ code, message, channel: name, sqlstate, limit }, asked, channel) => {
      if (asked?.isRenewal) return;
      // No token is required there.
      if (asked?.isRenewal === false && code === "unknown_type") return this.#begin();
      if (code === "unauthorized") return this.#lose(4001, message);
      if (asked?.isRenewal === false) return this.#lose(1013, message);
      const error = new AlleError(code, message, { channel: name, sqlstate, limit });
      if (asked?.ticket) return asked.ticket.reject(error);
      if (!channel) return;
      const again = () => this.#ask(channel);
      if (asked && FINAL_ERRORS.includes(code)) this.#channels.delete(name);
      else if (asked) channel.timer = setTimeout(again, jitter(channel.attempt++));
      this.#tell(channel, "onError", error);
    },
  };
}
