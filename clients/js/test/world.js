/**
 * A bridge, a clock and chance, all in the hands of a test.
 *
 * Owns the sockets that a client opens, and the timers that it sets. Nothing here waits: `pass` is the
 * only way on.
 */

const real = { setTimeout, clearTimeout, now: Date.now, random: Math.random };

export class World {
  now = 1_000_000;
  timers = new Map();
  lastTimer = 0;
  /** Every socket that was opened, the newest last. */
  sockets = [];
  random = 1;
  listeners = new Map();

  constructor() {
    const world = this;
    globalThis.setTimeout = (then, delay = 0) => {
      this.timers.set(++this.lastTimer, { then, at: this.now + delay });
      return this.lastTimer;
    };
    globalThis.clearTimeout = (id) => this.timers.delete(id);
    Date.now = () => this.now;
    Math.random = () => this.random;
    const listen = { addEventListener: this.#add, removeEventListener: this.#remove };
    Object.assign(globalThis, listen, { document: { visibilityState: "visible", ...listen } });
    this.WebSocket = class {
      sent = [];
      closedWith = null;
      constructor(url) {
        this.url = url;
        world.sockets.push(this);
      }
      send(text) { this.sent.push(JSON.parse(text)); }
      close(code) { this.closedWith ??= code; }
    };
  }

  #add = (name, listener) => this.listeners.set(name, listener);
  #remove = (name, listener) => {
    if (this.listeners.get(name) === listener) this.listeners.delete(name);
  };

  restore() {
    globalThis.setTimeout = real.setTimeout;
    globalThis.clearTimeout = real.clearTimeout;
    Date.now = real.now;
    Math.random = real.random;
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
    delete globalThis.document;
  }

  get socket() { return this.sockets.at(-1); }

  /** What the client said on the newest socket since the last call. */
  said() { return this.socket.sent.splice(0); }

  /** The only message it said. */
  theOne() {
    const all = this.said();
    if (all.length !== 1) throw new Error(`not one message, but ${JSON.stringify(all)}`);
    return all[0];
  }

  open() { this.socket.onopen(); }

  say(message) { this.socket.onmessage({ data: JSON.stringify(message) }); }

  /** The other side ends the connection. */
  cut(code = 1006, reason = "") { this.socket.onclose({ code, reason }); }

  dispatch(type) { this.listeners.get(type)?.({ type }); }

  /** Lets whatever was promised come. */
  async settle() { for (let turn = 0; turn < 20; turn++) await null; }

  /** Time passes, and every timer that is due runs at its moment. */
  async pass(millis) {
    const end = this.now + millis;
    for (;;) {
      await this.settle();
      const due = [...this.timers].filter(([, it]) => it.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].then();
    }
    this.now = end;
  }

  /** The program sleeps: time passes, and timers run late, before anything that arrived meanwhile. */
  async sleep(millis) {
    this.now += millis;
    await this.pass(0);
  }

  /** When the next attempt comes, from now. */
  async untilNextAttempt() {
    const before = this.sockets.length;
    const from = this.now;
    for (let step = 0; step < 4_000 && this.sockets.length === before; step++) await this.pass(50);
    return this.sockets.length === before ? null : this.now - from;
  }
}
