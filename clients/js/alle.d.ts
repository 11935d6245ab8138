/** A place on a channel: everything up to it has arrived. It can be stored, and given as `since`. */
export interface Position {
  /** Names one unbroken stretch of the channel's notifications. */
  epoch: string;
  /** Counts the notifications in it. */
  seq: number;
}

/** A notification, with its position on its channel. */
export interface Notification extends Position {
  channel: string;
  payload: string;
  /** The payload was not UTF-8, and has a replacement character where it was not. */
  lossy: boolean;
}

/** Where a channel is complete from. */
export interface ChannelPosition extends Position {
  channel: string;
}

/** Something may have been missed; from this position on the channel is complete again. */
export interface Gap extends ChannelPosition {
  /**
   * `postgres_reconnect`: the bridge had lost PostgreSQL, which keeps nothing. `not_recovered`: this
   * client was away for longer than the bridge's history is. Others may follow.
   */
  reason: string;
}

export interface Callbacks {
  /** Something may have been missed: load again what the notifications are about. By default a warning on the console. */
  onGap?(gap: Gap): void;
  /** The connection was lost and nothing was missed: what came meanwhile follows, in order. */
  onRecovered?(position: ChannelPosition): void;
  /** The first time: each notification that is committed from now on arrives. */
  onSubscribed?(position: ChannelPosition): void;
  /**
   * The channel is refused. What may change is asked for again (`too_many_channels`, `rate_limited`,
   * `postgres_error`); `forbidden`, `bad_channel` (told without asking where no channel can have that name) and `too_many_subscriptions` end the subscription, and so does
   * the end of the client (`unauthorized`, `closed`, `protocol_error`). By default an error on the console.
   */
  onError?(error: AlleError): void;
  /** The position at which an earlier program stopped, from its `position`: what came since follows, or `onGap` is called. */
  since?: Position | null;
}

export interface Subscription {
  readonly channel: string;
  /** The position of the last notification or gap, `null` before the first answer. To be stored after a notification was dealt with. */
  readonly position: Position | null;
  /** From now on no callback of this subscription is called. */
  unsubscribe(): void;
}

/**
 * `connecting` until the bridge takes requests, then `open`; `waiting` until the next attempt; `closed`
 * for good: by the program, or because another attempt would end the same way.
 */
export type Status = "connecting" | "open" | "waiting" | "closed";

export interface StatusDetail {
  /** Whether the bridge has PostgreSQL; `unknown` while there is no connection. */
  postgres: "up" | "down" | "unknown";
  /** The close code, with `waiting` and `closed`. */
  code?: number;
  /** Why the connection ended. */
  reason?: string;
  /** The milliseconds until the next attempt, with `waiting`. */
  delay?: number;
}

type Token = string | null | undefined;

export interface Options {
  /** A token, or a function that fetches one: called for each connection, and again when a token expires or is refused. */
  token?: Token | (() => Token | Promise<Token>);
  /** Called whenever the status, or that of PostgreSQL, changes. */
  onStatus?(status: Status, detail: StatusDetail): void;
  /** The class to use where there is no global one: that of the package `ws` in Node 20, say. */
  WebSocket?: new (url: string) => any;
}

export interface Client {
  readonly status: Status;
  /** Whether the bridge has PostgreSQL; `unknown` while there is no connection. */
  readonly postgres: "up" | "down" | "unknown";
  /**
   * Calls `onMessage` with the payload of each notification, once and in PostgreSQL's commit order, across
   * reconnects as well. Any number of subscriptions to one channel share one of the bridge.
   */
  subscribe(channel: string, onMessage: (payload: string, notification: Notification) => void, callbacks?: Callbacks): Subscription;
  /**
   * NOTIFY; a payload that is no string becomes JSON. Resolves once PostgreSQL has committed. Rejects with an
   * {@link AlleError}: with the code `unknown_outcome` it may be committed or not, with any other it is not.
   * It is never sent twice. Without a connection it waits 10 s for one. What the bridge could not take is refused at
   * once: a lone surrogate (`bad_message`), more than 64,000 bytes in JSON (`payload_too_large`); and a name of a
   * channel with a lone surrogate or of more than 63 characters (`bad_channel`).
   */
  publish(channel: string, payload: unknown): Promise<void>;
  /** The end: nothing is called any more, and nothing is tried again. */
  close(): void;
}

/** Why something failed. */
export class AlleError extends Error {
  /**
   * One of the bridge's error codes; or `not_connected`: there was no connection, nothing was sent; `closed`: the
   * client is closed; `protocol_error`: the bridge closed the connection for good.
   */
  readonly code: string;
  readonly channel?: string;
  /** PostgreSQL's, with `postgres_error`. */
  readonly sqlstate?: string;
  /** In bytes, with `payload_too_large`. */
  readonly limit?: number;
}

/**
 * Connects, and stays connected. `url` is that of the bridge (`ws:`, `wss:`, `http:` or `https:`, or relative
 * to the page); without one it is the bridge that this module was loaded from.
 */
export function connect(url?: string | URL | null, options?: Options): Client;
