//! The same without alle, for comparison: the sockets by axum, LISTEN by tokio-postgres, a channel of
//! Tokio's between them, as their documentations show it. It does not notice that its session to
//! PostgreSQL was lost, nor tell a page that it has missed something.

use std::{env, error::Error, sync::Arc};

use axum::{
    Router,
    extract::{State, WebSocketUpgrade, ws::Message},
    http::StatusCode,
    response::{Html, Response},
    routing::{any, get, post},
};
use futures_util::{StreamExt as _, stream};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_postgres::{AsyncMessage, Client, NoTls};

const PAGE: &str = r##"<!doctype html>
<title>Orders</title>
<ul id="orders"></ul>
<script type="module">
  const list = document.querySelector("#orders");
  const show = (order) => list.appendChild(document.createElement("li")).append(order);
  new WebSocket("/ws").onmessage = ({ data }) => show(data);
</script>"##;

#[derive(Clone)]
struct App {
    postgres: Arc<Client>,
    orders: broadcast::Sender<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let postgres_url = argument("postgresql://localhost/postgres");
    let listener = TcpListener::bind(argument("127.0.0.1:3000")).await?;
    println!("http://{}", listener.local_addr()?);

    let (postgres, mut connection) = tokio_postgres::connect(&postgres_url, NoTls).await?;
    let (orders, _) = broadcast::channel(1_000);
    let app = App {
        postgres: Arc::new(postgres),
        orders: orders.clone(),
    };
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(it) = message {
                let _ = orders.send(it.payload().to_owned());
            }
        }
    });
    app.postgres.batch_execute("LISTEN orders").await?;

    let routes = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/ws", any(sockets))
        .route("/orders", post(order))
        .with_state(app);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn sockets(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    let mut orders = app.orders.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        while let Ok(order) = orders.recv().await {
            if socket.send(Message::text(order)).await.is_err() {
                return;
            }
        }
    })
}

async fn order(State(app): State<App>, order: String) -> Result<(), (StatusCode, String)> {
    let notify = "SELECT pg_notify('orders', $1)";
    let sent = app.postgres.execute(notify, &[&order]).await;
    match sent {
        Ok(_) => Ok(()),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}
