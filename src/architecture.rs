//! The architecture of the crate, for whoever changes it.
//!
//! To use the crate, start at [`Bridge`](crate::Bridge). The modules named here are private; their
//! pages are built by `cargo doc --document-private-items`.
//!
//! # Two halves
//!
//! One thread, one `mio::Poll`. The **core** decides everything and touches nothing: no socket, no
//! clock, no random number; time and a seed are arguments. The **shell** owns every socket and
//! every clock, and decides nothing. So tests, fuzzers and simulations can drive the core through
//! each order of events that a network can produce, and the shell is short enough to be checked by
//! eye.
//!
//! # Layers
//!
//! Dependencies go down only, siblings do not know each other, and `tests/tidy.rs` checks it.
//!
//! ```text
//! cli                        what was typed, what it means, one command each
//! workers, worker            several bridges on one port: the parent, and its bridges' side of the pipe
//! bridge, listener,          the library's front doors: configuration in, a running loop out
//! web_socket_server, doctor
//! running                    a server that has started, on a thread of its own
//! operation                  a call under way: awaited, or waited for
//! error                      why nothing runs
//! startup                    what starting asks of the system: environment, names, a seed
//! reactor                    Poll, sockets, the turn: IO and the clock (and a smaller turn for
//!                            listener and doctor, which have PostgreSQL and no clients)
//! handle, queue              what it shares with other threads: a stop, and a queue either way
//! service_manager, terminal   who started us: what it is told, and whether it has gone
//! token_file                 read at the start and again when a signal says so
//! group_config               the group that a configuration names
//! group_key_file             the secret of a group, read at the start
//! surroundings               variables, files and sockets that connection settings want, anew for
//!                            each round of attempts
//! ───────────────────────────────────────────────────────────────────────────────────────────
//! hub                        clients and channels: every reaction, and the parts it composes
//! backend                    two sessions to PostgreSQL kept alive: one hears, one speaks
//! delivery                   the bytes each client is owed: index, batches, passes, backlogs, history
//! pg  http  ws  sse          PostgreSQL's protocol, HTTP/1.1, RFC 6455, events: bytes in or out
//! metrics                    what happened, counted, and Prometheus's text of it
//! channel  message           valid by construction; the JSON protocol
//! config                     plain data to start with, and the limits
//! access                     who may come in, and who may subscribe and publish where
//! id  random  backoff        clients and moments; numbers from a seed; delays that double
//! race                       which address of a name is connected to next
//! escape                     what strangers write, on one line and without commands
//! ```
//!
//! # Parts
//!
//! `Hub`, `Backend` and `Delivery` compose parts. A part owns private state, takes `&mut` of exactly
//! what it needs, and answers with a value; it does not name the type that composes it. Only the
//! composing type acts: the reactions of `Hub` are sorted into eight files by what they react to.
//!
//! | part of the hub | owns |
//! | --- | --- |
//! | `clients` | every connection: its phase, its name, the counts |
//! | `channels` | what is wanted of PostgreSQL, who is subscribed, who waits, each channel's position |
//! | `shares`, `unlisten_delay`, `gaps` | of `channels`: which client pays for each, which are kept, which have a gap to come |
//! | `delivery` | what is owed to whom, and what waits for its socket |
//! | `broadcast` | the buffers in which a frame for many is encoded |
//! | `publishing` | publishes until their outcome |
//! | `openings` | event streams that wait for PostgreSQL |
//! | `site` | what is at which path |
//! | `authorization` | whom a token lets in, and what each client may ask |
//! | `guessing`, `identity_limit`, `rate_limit` | of `authorization`: what nobody may do without end |
//! | `room` | who has a place, and who goes where there is none |
//! | `eviction`, `address_limit` | of `room`: the oldest of each class; clients by address |
//! | `exchange` | of a connection: the request being read, and the order of the answers |
//! | `endpoints`, `refusals` | whence a connection came, and where to; which refusals are logged |
//! | `reaping`, `unparsed`, `answering` | what is left for the next turn |
//! | `membership`, `group` | the other bridges of a group, and what their positions are to us |
//! | `upstream`, `postgres` | where notifications come from; what is known of PostgreSQL |
//! | `work`, `deadlines`, `shutdown` | what a turn did of what it may; what is due; how far the end has come |
//!
//! Where a decision needs several parts, a value borrows them, decides, and says what is to be done:
//! `judge` what becomes of a request, `beginning` what is told of a subscription, `view` the numbers
//! of a moment, and who costs most.
//!
//! # The same verbs everywhere
//!
//! Facts go down as `handle_*`, outcomes come up by `poll_*`: on `pg::session::Session`, on
//! `Backend`, on `Hub`. After any `handle_*`, drain the actions, then the bytes, then ask for the next
//! time-out. `Hub::handle_*` return nothing, because no peer can fail the server.
//!
//! # One turn
//!
//! `Reactor::turn` does this, always in this order:
//!
//! | step | budget |
//! | --- | --- |
//! | wait in `poll`, not at all while work is left that no event announces | |
//! | read PostgreSQL, encode each notification into its channel's batch | 64 KiB a session |
//! | read clients, answer them into their backlogs | 16 KiB each, 2,000 units of work (half of them where the turn before left something), 1 ms for all |
//! | TLS handshakes of clients, one step each | 250 µs, and one step more |
//! | accept | 64 |
//! | write: backlogs that can move, and one slice of one pass | 64 writes or 250 µs, and 1,024 moves to backlogs |
//! | time-outs: pings, handshakes, stalls, heartbeats, reconnects | a quarter of the clients |
//! | links of clients that ended are cut, slots are freed; gaps of all channels are told | the rest of the units |
//! | flush PostgreSQL | |
//!
//! A unit of work is about what the smallest message costs; the core counts them, so that nothing
//! clients do makes a turn longer on any machine. Nothing is freed and no link is cut while something
//! walks: mark, then reap. Events are edge-triggered, so whatever a budget leaves undone is
//! remembered and done in the next turn.
//!
//! Where clients speak TLS, `reactor::client_tls` stands between socket and hub: what the hub lends is
//! encrypted into one buffer that all clients share, and of what a socket did not take the hub is told
//! all but the last byte, so that it waits for the rest as it waits for any other socket.
//!
//! # The path of one notification
//!
//! ```text
//! bytes ─► pg::codec splits the message by hand (invalid UTF-8 must not be fatal)
//!       ─► Hub::handle_notification: the channel by name; not listened to, or nobody there: counted, dropped
//!       ─► Broadcast::notify: JSON once, and a header or an event around it for each lane with subscribers
//!       ─► Fanout::append: into the lane's batch of the channel, with its next sequence number
//!       ─► a pass walks the channel's dense array of subscribers, from the end to the start
//!            per subscriber: one write of one contiguous range, straight from the batch
//!            owed by several channels: merged by sequence, copied together, still one write
//!            socket full: a reference into the batch goes to that client's backlog
//! ```
//!
//! Nothing on it allocates per recipient (`tests/memory.rs` counts). Frames that arrive while a
//! pass walks gather behind it and leave together in the next one, so batching grows with load and
//! no timer is involved. A slice begins with the smallest pass; where it leaves the oldest out, the
//! next one begins with that.
//!
//! # Order
//!
//! Each client has a global sequence number up to which it was given everything (`seen`). What it is
//! owed is everything behind that on its channels, merged by sequence: that is PostgreSQL's commit
//! order, across channels. One rule keeps answers in step: *whatever is owed is moved to the client's
//! backlog before its subscriptions change, and before an answer about a channel is queued.* `gap` is
//! a frame of its channel and `status` a frame of all, so neither can overtake nor be overtaken.
//!
//! # Confirmation
//!
//! `backend::interest::Interest` is the one state of a channel towards PostgreSQL, and
//! `backend::interests` the one queue of LISTENs and UNLISTENs, in which clients take turns.
//! `subscribed` is sent when the LISTEN's ReadyForQuery came, never at its CommandComplete. A client
//! joins the index at that moment: nothing reaches it before. When the session is lost, every wanted
//! channel waits, is asked for again on the next session, and its subscribers get `gap` with a new
//! epoch when it is confirmed.
//!
//! # Memory
//!
//! An idle client is a 16-byte record that a fan-out touches, a cold record beside it, its links and
//! its socket. There is no read buffer (one for all), no write buffer, and no decoder state between
//! complete frames. A client that falls behind costs references into batches that exist once; a
//! client that overflows is marked, gets nothing more, and is closed at the end of the turn, visibly.
//!
//! # Where to look first
//!
//! The contract of a type is its documentation. Begin with `hub.rs`, `delivery.rs` and `backend.rs`;
//! the tests in `src/hub/tests.rs` read as sentences.
