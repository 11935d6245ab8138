//! The state that a running reactor shares with other threads: its orders and its address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::Waker;

use crate::{
    access::Permissions,
    channel::{Channel, Payload, is_reserved},
    hub::{
        custom_protocol::{RawMessage, SendError},
        load::Load,
    },
    id::ClientId,
    operation::{Operation, Promise},
    orders::{Order, Orders, PublishError},
    token_file::ReloadError,
};

/// Speaks with a running [`Bridge`](crate::Bridge) or [`WebSocketServer`](crate::WebSocketServer)
/// from any thread or task: publishes and sends by it, asks how it goes, and stops it. It costs
/// little to clone, and does not keep the server alive.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Requests a stop: clients are closed with 1001, publishes under way get two seconds. Takes
    /// effect even if the server has not started yet.
    pub fn stop(&self) {
        self.shared.stop_requested.store(true, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Requests a stop after `span`: until then `/readyz` says 503, upgrades get 503, and each
    /// client is served until it is closed with 1001 at a random time. At most
    /// [`BridgeConfig::DRAIN_MAX`](crate::BridgeConfig::DRAIN_MAX); a span of zero is
    /// [`stop`](Self::stop). Takes effect even if the server has not started yet.
    pub fn drain(&self, span: Duration) {
        if span.is_zero() {
            self.stop();
        } else {
            self.shared.lock().drain_requested = Some(span);
            self.shared.wake();
        }
    }

    /// Notifies the channel by PostgreSQL, as a client does that publishes: answered once PostgreSQL
    /// has committed. The permissions of clients do not bind the program. Its notifications are
    /// committed in the order of the calls; to drop the operation takes none back.
    ///
    /// # Errors
    ///
    /// [`PublishError`] says whether the notification was sent. A stand-alone
    /// [`WebSocketServer`](crate::WebSocketServer) has no PostgreSQL: see [`deliver`](Self::deliver).
    pub fn publish(&self, channel: &str, payload: &str) -> Operation<Result<(), PublishError>> {
        let channel = Channel::new(channel).map_err(PublishError::Channel);
        let payload = Payload::new(payload).map_err(PublishError::Payload);
        let (channel, payload) = match (channel, payload) {
            (Ok(channel), _) if is_reserved(channel.as_str()) => {
                return Operation::ready(Err(PublishError::Reserved));
            }
            (Ok(channel), Ok(payload)) => (channel, payload),
            (Err(error), _) | (_, Err(error)) => return Operation::ready(Err(error)),
        };
        self.order(PublishError::stopped, |promise| {
            Order::Publish(channel, payload, promise)
        })
    }

    /// Delivers a notification to the channel's subscribers at this server, in order with those of
    /// PostgreSQL, which knows nothing of it: the clients of other bridges do not hear it. Answered
    /// once it is queued for them. `payload` may be longer than PostgreSQL's.
    ///
    /// # Errors
    ///
    /// [`PublishError::Channel`], [`PublishError::Crowded`], [`PublishError::Grouped`],
    /// [`PublishError::Reserved`] and [`PublishError::Stopped`].
    pub fn deliver(
        &self,
        channel: &str,
        payload: impl Into<String>,
    ) -> Operation<Result<(), PublishError>> {
        match Channel::new(channel) {
            Ok(channel) if is_reserved(channel.as_str()) => {
                Operation::ready(Err(PublishError::Reserved))
            }
            Ok(channel) => self.order(PublishError::stopped, |promise| {
                Order::Deliver(channel, payload.into(), promise)
            }),
            Err(error) => Operation::ready(Err(PublishError::Channel(error))),
        }
    }

    /// Sends the client a message of the program's own, behind everything that it is owed: in the
    /// protocol of the program, or one that clients of the bridge are known to understand, since they
    /// ignore others. The name of the client comes with
    /// [`with_lifecycle`](crate::WebSocketServer::with_lifecycle) and
    /// [`spawn_messages`](crate::WebSocketServer::spawn_messages).
    ///
    /// `Ok` tells how many bytes wait for the client, with these: 0 would be a client that reads as fast
    /// as the program sends. That the client has read the message, no server can know.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent. A client that reads too slowly is not closed for it.
    pub fn send_to(
        &self,
        client: ClientId,
        message: RawMessage,
    ) -> Operation<Result<usize, SendError>> {
        let stopped = |_| Err(SendError::Stopped);
        self.order(stopped, |promise| Order::Send(client, message, promise))
    }

    /// Gives a client that [`with_admission`](crate::Bridge::with_admission) let in these permissions in
    /// place of its old ones. It is closed with 4003 if it is subscribed to a channel that they do not
    /// cover. False if there is no such client.
    pub fn set_permissions(&self, client: ClientId, permissions: Permissions) -> Operation<bool> {
        let permit = |promise| Order::Permit(client, permissions, promise);
        self.order(|_| false, permit)
    }

    /// How many clients there are and what waits for them, in figures; `None` if the server has ended.
    pub fn load(&self) -> Operation<Option<Load>> {
        self.order(|_| None, Order::Load)
    }

    /// The text of `/metrics`; `None` if the server has ended.
    pub fn metrics(&self) -> Operation<Option<String>> {
        self.order(|_| None, Order::Metrics)
    }

    /// What `/readyz` says: whether every wanted channel is heard, and publishes commit; else why
    /// not.
    ///
    /// # Errors
    ///
    /// The reason, in a sentence.
    pub fn readiness(&self) -> Operation<Result<(), String>> {
        self.order(|_| Err("the server has ended".to_owned()), Order::Readiness)
    }

    /// Reads the file of tokens again, as SIGHUP does: a client whose token is no more is closed with
    /// 4001. Without such a file it changes nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is malformed; the tokens stay as they were.
    pub fn reload(&self) -> Operation<Result<(), ReloadError>> {
        self.order(|_| Ok(()), Order::Reload)
    }

    /// Leaves connections waiting at the socket, or accepts them again.
    pub(crate) fn hold_clients(&self, is_held: bool) {
        self.shared.push(Order::Hold(is_held));
    }

    /// Hands an order to the loop; what is not taken, or not answered, ends as `lost` says.
    fn order<T>(
        &self,
        lost: fn(io::Error) -> T,
        order: impl FnOnce(Promise<T>) -> Order,
    ) -> Operation<T> {
        let (promise, operation) = Operation::pending(lost);
        self.shared.push(order(promise));
        operation
    }

    /// The address for clients. Blocks until it is bound; `None` if the server ended before that.
    /// [`RunningBridge::local_addr`](crate::RunningBridge::local_addr) blocks nobody.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let mut state = self.shared.lock();
        loop {
            match state.address {
                Address::Unbound => {
                    let waited = self.shared.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Address::Bound(address) => return Some(address),
                Address::Ended => return None,
            }
        }
    }
}

/// Where clients of this address find the server: an address that stands for all of the machine's
/// is replaced by the loopback, which is sure to lead there.
pub(crate) fn ws_url(mut address: SocketAddr, is_secured: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let scheme = if is_secured { "wss" } else { "ws" };
    format!("{scheme}://{address}")
}

/// The one server of its handles: dropping it, started or not, ends every wait.
#[derive(Debug, Default)]
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.detach();
    }
}

/// The reactor's side.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop_requested: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Arc<Waker>>,
    address: Address,
    drain_requested: Option<Duration>,
    orders: Orders,
}

#[derive(Clone, Copy, Debug, Default)]
enum Address {
    #[default]
    Unbound,
    Bound(SocketAddr),
    Ended,
}

impl Shared {
    /// The reactor listens and can be woken.
    pub(crate) fn attach(&self, waker: Arc<Waker>, address: SocketAddr) {
        let mut state = self.lock();
        state.waker = Some(waker);
        state.address = Address::Bound(address);
        let is_told = state.drain_requested.is_some() || !state.orders.is_empty();
        drop(state);
        self.changed.notify_all();
        if self.is_stop_requested() || is_told {
            self.wake();
        }
    }

    /// The reactor is gone.
    fn detach(&self) {
        let ended = State {
            address: Address::Ended,
            ..State::default()
        };
        let unanswered = std::mem::replace(&mut *self.lock(), ended);
        self.changed.notify_all();
        drop(unanswered);
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::SeqCst)
    }

    /// An order that is not taken is dropped, and that answers it.
    pub(crate) fn push(&self, order: Order) {
        let mut state = self.lock();
        if matches!(state.address, Address::Ended) {
            drop(state);
            return;
        }
        let too_many = state.orders.push(order).err();
        drop(state);
        self.wake();
        match too_many {
            Some(Order::Publish(.., promise) | Order::Deliver(.., promise)) => {
                promise.keep(Err(PublishError::Crowded));
            }
            Some(Order::Send(.., promise)) => promise.keep(Err(SendError::Crowded)),
            Some(
                Order::Metrics(_)
                | Order::Load(_)
                | Order::Permit(..)
                | Order::Readiness(_)
                | Order::Reload(_)
                | Order::Hold(_)
                | Order::Rule(..),
            )
            | None => {}
        }
    }

    /// The orders since the last call.
    pub(crate) fn take_orders(&self) -> Vec<Order> {
        self.lock().orders.take()
    }

    /// The span of a drain that was requested since the last call.
    pub(crate) fn take_drain(&self) -> Option<Duration> {
        self.lock().drain_requested.take()
    }

    pub(crate) fn waker(&self) -> Option<Arc<Waker>> {
        self.lock().waker.clone()
    }

    /// The loop turns once more.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker() {
            // An error means that the poll is gone, and then no reactor is left to be woken.
            let _woken = waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_wildcard_address_is_that_of_the_loopback() {
        for (address, url) in [
            ("127.0.0.1:80", "ws://127.0.0.1:80"),
            ("0.0.0.0:9", "ws://127.0.0.1:9"),
            ("[::]:9", "ws://[::1]:9"),
            ("10.0.0.1:9", "ws://10.0.0.1:9"),
        ] {
            assert_eq!(ws_url(address.parse().unwrap(), false), url);
            let secured = url.replace("ws:", "wss:");
            assert_eq!(ws_url(address.parse().unwrap(), true), secured);
        }
    }
}
