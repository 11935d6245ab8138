//! The examples of docs/tokens.md: their SQL is run as it stands, by an owner, and asked by a role that
//! may do nothing else.

use alle::internals::sandbox::Sandbox;
use serde_json::json;

use crate::{
    client::{Client, End},
    harness::Bridge,
    sql::Sql,
};

const PAGE: &str = include_str!("../../docs/tokens.md");

/// A server with everything that stands on the page, and the role that is named there.
fn server() -> Sandbox {
    let server = Sandbox::start().unwrap();
    let mut sql = Sql::connect(server.port(), "postgres");
    sql.run("CREATE ROLE alle LOGIN");
    let blocks = PAGE.split("```sql\n").skip(1);
    let mut count = 0;
    for block in blocks.filter_map(|rest| rest.split("```").next()) {
        sql.run(block);
        count += 1;
    }
    assert_eq!(count, 4);
    server
}

fn start(server: &Sandbox, function: &str) -> Bridge {
    let url = format!("postgresql://alle@127.0.0.1:{}/postgres", server.port());
    Bridge::start_with(&url, &["--auth-function", function])
}

fn bearer(bridge: &Bridge, token: &str) -> Client {
    Client::connect_with(bridge.address, &format!("Bearer {token}"))
}

fn may_subscribe(client: &mut Client, channel: &str) -> bool {
    client.ask(&json!({"type": "subscribe", "channel": channel}))["type"] == "subscribed"
}

#[test]
fn the_tables_of_the_page_say_who_may_what() {
    let server = server();
    let mut sql = Sql::connect(server.port(), "postgres");
    sql.run(
        "INSERT INTO app.sessions VALUES
             (sha256('of-seven'), 7, now() + interval '1 h'), (sha256('of-eight'), 8, now());
         INSERT INTO app.members VALUES (1, 7), (2, 7), (3, 8)",
    );
    let bridge = start(&server, "auth.bearer");
    let mut billing = bearer(&bridge, "n0tTheRealOne-7f3a91c2");
    for (channel, may) in [("orders.eu", true), ("alerts", true), ("other", false)] {
        assert_eq!(may_subscribe(&mut billing, channel), may, "{channel}");
    }
    let message = json!({"type": "notify", "channel": "alerts", "payload": "p", "id": 1});
    assert_eq!(billing.ask(&message)["code"], "forbidden");

    let bridge = start(&server, "app.bearer");
    let mut seven = bearer(&bridge, "of-seven");
    for (channel, may) in [
        ("room.1", true),
        ("room.2", true),
        ("room.3", false),
        ("user.7", true),
        ("user.8", false),
    ] {
        assert_eq!(may_subscribe(&mut seven, channel), may, "{channel}");
    }
    sql.run("DELETE FROM app.members WHERE room_id = 2");
    bridge.signal("HUP");
    let text = "channel no longer permitted";
    assert_eq!(seven.end(), End::Closed(4003, text.into()));

    let bridge = start(&server, "app.is_known");
    let mut seven = bearer(&bridge, "of-seven");
    assert!(may_subscribe(&mut seven, "anything"));
    let mut eight = Client::connect(bridge.address);
    let answer = eight.ask(&json!({"type": "auth", "token": "of-eight"}));
    assert_eq!(answer["code"], "unauthorized");

    // The role cannot read what the function reads.
    let refused = Sql::connect(server.port(), "postgres")
        .run_bytes(b"SET ROLE alle; SELECT * FROM auth.api_keys");
    assert!(refused.unwrap_err().contains("42501"));
}
