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
pub mod message;
pub mod metrics;
mod notifications;
pub mod pg;
mod reactor;
#[doc(hidden)]
pub mod sandbox;
mod server;
mod shell;
pub mod ws;

pub use self::{
    bridge::feed::Incoming,
    channel::{Channel, Payload},
    config::{BridgeConfig, Limits},
    control::Handle,
    notifications::{Notification, Notifications, Received},
    server::{Bridge, BridgeError},
};
