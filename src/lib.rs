//! WebSocket clients on PostgreSQL LISTEN/NOTIFY.

pub mod backlog;
pub mod batch;
pub mod bridge;
pub mod channel;
pub mod config;
mod control;
pub mod fanout;
pub mod frame;
pub mod index;
mod listener;
pub mod message;
pub mod metrics;
mod notifications;
pub mod pg;
mod reactor;
#[doc(hidden)]
pub mod sandbox;
mod server;
mod shell;
mod web_socket_server;
pub mod ws;

pub use self::{
    bridge::feed::Incoming,
    channel::{Channel, Payload},
    config::{BridgeConfig, Limits},
    control::Handle,
    listener::{ListenerError, PostgresListener},
    notifications::{Notification, Notifications, Received},
    server::{Bridge, BridgeError},
    web_socket_server::{IncomingRequests, WebSocketServer},
};
