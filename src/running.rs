//! [`RunningBridge`]: a server that has started, on a thread of its own.
//!
//! Owns the end of it: whoever drops it stops the server. Knows neither what is served nor how a
//! server starts.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    error::BridgeError,
    handle::{self, Handle, Owner},
    operation::{Operation, Task},
    reactor::Reactor,
};

/// A [`Bridge`](crate::Bridge) or a [`WebSocketServer`](crate::WebSocketServer) that serves on a
/// thread of its own.
///
/// It ends when its owner drops it, also when a program leaves `main` by an error: to drop it asks
/// the server to stop, and blocks nobody. To be told when every client is closed and every publish
/// has its answer, [`stop`](Self::stop) it:
///
/// ```no_run
/// # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
/// use alle::{Bridge, BridgeConfig};
///
/// let config = BridgeConfig::new("postgresql://localhost/postgres", "127.0.0.1:0");
/// let bridge = Bridge::new(config).spawn()?;
/// println!("{}", bridge.ws_url());
/// // The program's own work, in which `?` is no danger: the bridge ends with the program.
/// bridge.stop().await?; // or, without an async runtime, .wait()?
/// # Ok(())
/// # }
/// ```
///
/// Awaited itself, it ends when the server does, which takes a [`Handle`] or a signal.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct RunningBridge {
    handle: Handle,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    is_secured: bool,
    serving: Operation<Result<(), BridgeError>>,
}

impl RunningBridge {
    pub(crate) fn spawn(server: Started) -> Result<Self, BridgeError> {
        Ok(Self {
            handle: server.handle(),
            address: server.address,
            admin_address: server.admin_address,
            is_secured: server.is_secured,
            serving: Operation::spawn(serve(server.handle(), || server.run()))
                .map_err(BridgeError::Io)?,
        })
    }

    /// The address for clients.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of health and metrics, where that is another.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The URL for clients on this machine, such as `ws://127.0.0.1:8080`.
    pub fn ws_url(&self) -> String {
        handle::ws_url(self.address, self.is_secured)
    }

    /// A handle for other threads. It does not keep the server alive.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes every client with 1001, gives publishes under way two seconds, and ends within five.
    pub fn stop(self) -> Operation<Result<(), BridgeError>> {
        self.handle.stop();
        self.serving
    }

    /// Stops after `span`, as [`Handle::drain`] says. To drop the operation stops at once.
    pub fn drain(self, span: Duration) -> Operation<Result<(), BridgeError>> {
        self.handle.drain(span);
        self.serving
    }

    /// Blocks until the server ends: a signal or a [`Handle`] ended it.
    ///
    /// # Errors
    ///
    /// [`BridgeError::Io`] if the operating system fails the server, [`BridgeError::Ended`] if its
    /// thread panicked.
    pub fn wait(self) -> Result<(), BridgeError> {
        self.serving.wait()
    }
}

impl Future for RunningBridge {
    type Output = Result<(), BridgeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.serving).poll(context)
    }
}

/// A server that listens already, and whose loop has not begun.
pub(crate) struct Started {
    pub(crate) reactor: Reactor,
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: Option<SocketAddr>,
    /// Clients speak TLS.
    pub(crate) is_secured: bool,
    /// Its end ends every wait for the address.
    pub(crate) owner: Owner,
}

impl Started {
    fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.owner.0))
    }

    /// Serves on this thread.
    pub(crate) fn run(self) -> Result<(), BridgeError> {
        let Self { reactor, owner, .. } = self;
        let served = reactor.run().map_err(BridgeError::Io);
        drop(owner);
        served
    }
}

/// What serves until `handle` stops it.
pub(crate) fn serve(
    handle: Handle,
    run: impl FnOnce() -> Result<(), BridgeError> + Send + 'static,
) -> Task<Result<(), BridgeError>> {
    Task {
        name: "alle bridge",
        run: Box::new(run),
        stop: Box::new(move || handle.stop()),
        lost: |error: io::Error| Err(BridgeError::Ended(error)),
    }
}
