//! Live orders on a page, HTTP by axum and sockets by alle: in this directory
//! `cargo run -- [POSTGRES_URL [ADDRESS]]`, then
//! `curl --data 'New order' http://127.0.0.1:3000/orders`.

use std::{env, error::Error};

use alle::{Bridge, BridgeConfig, Handle};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::Html,
    routing::{get, post},
};
use tokio::net::TcpListener;

const PAGE: &str = include_str!("page.html");
const MODULE: &str = include_str!("../../../clients/js/alle.js");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let postgres_url = argument("postgresql://localhost/postgres");
    let listener = TcpListener::bind(argument("127.0.0.1:3000")).await?;
    let origin = format!("http://{}", listener.local_addr()?);
    println!("{origin}");

    // The sockets have a port of their own, to which the page may connect.
    let config = BridgeConfig::new(postgres_url, "127.0.0.1:0").with_allow_origins(vec![origin]);
    let bridge = Bridge::new(config).spawn()?;
    let page = PAGE.replace("WS_URL", &bridge.ws_url());

    let app = Router::new()
        .route("/", get(Html(page)))
        .route(
            "/alle.js",
            get(([(CONTENT_TYPE, "text/javascript")], MODULE)),
        )
        .route("/orders", post(order))
        .with_state(bridge.handle());
    axum::serve(listener, app).await?;
    Ok(())
}

/// Answers once PostgreSQL has committed the notification.
async fn order(State(bridge): State<Handle>, order: String) -> Result<(), (StatusCode, String)> {
    let published = bridge.publish("orders", &order).await;
    published.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}
