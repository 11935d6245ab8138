//! The module for pages, `clients/js/alle.js`, in Node and in Chromium: against a bridge that a test
//! makes up, and against the real one while sockets, bridge and PostgreSQL are harmed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests are a shell: they open sockets and run programs; what is not there fails the test"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "client/audit.rs"]
mod audit;
#[path = "support/cdp.rs"]
#[expect(dead_code, reason = "the other test of a page needs the rest")]
mod cdp;
#[path = "client/cookie.rs"]
mod cookie;
#[path = "support/deserted.rs"]
mod deserted;
#[path = "support/environment.rs"]
mod environment;
#[path = "client/events.rs"]
mod events;
#[path = "client/firefox.rs"]
mod firefox;
#[path = "client/harm.rs"]
mod harm;
#[path = "client/node.rs"]
mod node;
#[path = "support/patient.rs"]
mod patient;
#[path = "client/react.rs"]
mod react;
#[path = "client/readme.rs"]
mod readme;
#[path = "contract/relay.rs"]
#[expect(dead_code, reason = "the contract's tests need the rest")]
mod relay;
#[path = "playground/server.rs"]
#[expect(dead_code, reason = "the playground's tests need the rest")]
mod server;
#[path = "client/site.rs"]
mod site;

/// The module against sockets, a clock and chance in the test's hands, by Node's own test runner.
#[test]
fn the_modules_own_tests_pass_in_node() {
    node::run_tests("clients/js/test/alle.test.js");
}
