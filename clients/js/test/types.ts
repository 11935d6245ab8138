/** Compiled, never run: the types say of the module what it does. */

import { AlleError, connect, type Gap, type Position, type Status } from "../alle.js";

const alle = connect("ws://localhost:8080", {
  token: async () => (await fetch("/token")).text(),
  onStatus: (status: Status, { postgres, delay }) => console.log(status, postgres, delay?.toFixed()),
});
connect();
connect(null, { token: "secret" });
connect(new URL("wss://bridge.example/ws"), { token: () => undefined, WebSocket });

const stored: Position | null = JSON.parse(sessionStorage.getItem("orders") ?? "null");
const orders = alle.subscribe("orders", (payload, { seq, epoch, lossy }) => {
  const text: string = payload + seq.toFixed() + epoch + String(lossy);
  console.log(text);
}, {
  since: stored,
  onGap: (gap: Gap) => console.log(gap.reason, gap.seq),
  onRecovered: ({ channel }) => console.log(channel),
  onSubscribed: ({ epoch }) => console.log(epoch),
  onError: (error) => console.log(error.code, error.sqlstate, error.limit),
});
alle.subscribe("alerts", console.log);
const position: Position | null = orders.position;
const sent: Promise<void> = alle.publish("orders", { id: 1, position });
sent.catch((error: unknown) => error instanceof AlleError && error.code === "unknown_outcome");
orders.unsubscribe();
alle.close();

// @ts-expect-error: a channel has a name
alle.subscribe(5, console.log);
// @ts-expect-error: the status is read only
alle.status = "open";
// @ts-expect-error: a position has an epoch
alle.subscribe("orders", console.log, { since: { seq: 1 } });
