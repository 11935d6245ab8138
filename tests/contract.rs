//! The contract from the outside: the real program between real sockets and a real PostgreSQL.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests are a shell: they open sockets and wait, with a time-out, for what they expect"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "contract/admin.rs"]
mod admin;
#[path = "contract/authentication.rs"]
mod authentication;
#[path = "contract/blocked.rs"]
mod blocked;
#[path = "support/cdp.rs"]
#[expect(dead_code, reason = "the tests of a page need the rest")]
mod cdp;
#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
#[expect(dead_code, reason = "the tests of TLS to PostgreSQL need the rest")]
mod certificates;
#[path = "contract/client.rs"]
mod client;
#[cfg(feature = "tls")]
#[path = "contract/client_tls.rs"]
mod client_tls;
#[path = "contract/commit_lock.rs"]
mod commit_lock;
#[path = "contract/configuration.rs"]
mod configuration;
#[path = "contract/cookie.rs"]
mod cookie;
#[path = "contract/crowd.rs"]
mod crowd;
#[path = "contract/demo.rs"]
mod demo;
#[path = "contract/descriptors.rs"]
mod descriptors;
#[path = "support/deserted.rs"]
mod deserted;
#[path = "contract/events.rs"]
mod events;
#[path = "contract/forwarded.rs"]
mod forwarded;
#[path = "contract/full_queue.rs"]
mod full_queue;
#[path = "contract/function.rs"]
mod function;
#[path = "contract/group.rs"]
mod group;
#[path = "contract/group_channels.rs"]
mod group_channels;
#[path = "contract/group_events.rs"]
mod group_events;
#[path = "contract/group_failover.rs"]
mod group_failover;
#[path = "contract/half_closed.rs"]
mod half_closed;
#[path = "contract/harness.rs"]
mod harness;
#[path = "contract/http.rs"]
mod http;
#[cfg(feature = "tls")]
#[path = "contract/jwt.rs"]
mod jwt;
#[path = "contract/listening.rs"]
mod listening;
#[path = "contract/logs.rs"]
mod logs;
#[path = "contract/metrics.rs"]
mod metrics;
#[path = "contract/mistakes.rs"]
mod mistakes;
#[path = "contract/module.rs"]
mod module;
#[path = "contract/monitoring.rs"]
mod monitoring;
#[path = "contract/outages.rs"]
mod outages;
#[path = "support/patient.rs"]
mod patient;
#[path = "contract/pooler.rs"]
mod pooler;
#[path = "support/program.rs"]
#[expect(dead_code, reason = "the other test of the program needs the rest")]
mod program;
#[path = "contract/protocol.rs"]
mod protocol;
#[path = "contract/protocol_schema.rs"]
mod protocol_schema;
#[path = "contract/proxies.rs"]
mod proxies;
#[path = "contract/publishing.rs"]
mod publishing;
#[path = "contract/raw.rs"]
mod raw;
#[path = "contract/reach.rs"]
mod reach;
#[path = "contract/readme.rs"]
mod readme;
#[path = "contract/recipes.rs"]
mod recipes;
#[path = "contract/reconnect.rs"]
mod reconnect;
#[path = "contract/relay.rs"]
mod relay;
#[path = "contract/resuming.rs"]
mod resuming;
#[path = "contract/rfc6455.rs"]
mod rfc6455;
#[path = "contract/rolling.rs"]
mod rolling;
#[path = "support/schema.rs"]
mod schema;
#[path = "contract/semantics.rs"]
mod semantics;
#[path = "contract/service.rs"]
mod service;
#[path = "contract/shutdown.rs"]
mod shutdown;
#[path = "contract/slow_reader.rs"]
mod slow_reader;
#[path = "contract/sql.rs"]
mod sql;
#[path = "contract/standby.rs"]
mod standby;
#[path = "contract/startup.rs"]
mod startup;
#[path = "contract/strangers.rs"]
mod strangers;
#[path = "contract/stream.rs"]
mod stream;
#[path = "contract/surroundings.rs"]
mod surroundings;
#[path = "contract/tokens.rs"]
mod tokens;
#[path = "contract/witness.rs"]
mod witness;
#[path = "contract/workers.rs"]
mod workers;
#[path = "contract/workers_files.rs"]
mod workers_files;
#[path = "contract/workers_harmed.rs"]
mod workers_harmed;
