//! A port without a listener, for as long as a test needs it.
//!
//! Knows that a socket which is bound and does not listen refuses connections. Refuses to give the
//! port up: another program, in this test or beside it, could bind it and answer.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Holds the port until dropped.
pub(crate) struct Deserted {
    holder: Option<Socket>,
    address: SocketAddr,
}

impl Deserted {
    pub(crate) fn hold() -> Self {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        holder.bind(&any.into()).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        Self {
            holder: Some(holder),
            address,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `start` run a listener there after all; when that is gone, the port is deserted again.
    ///
    /// SO_REUSEADDR permits it on Linux (socket(7)). Elsewhere the port is given up for it.
    pub(crate) fn lend<T>(&mut self, start: impl FnOnce(SocketAddr) -> T) -> T {
        let holder = self.holder.take().filter(|_| cfg!(target_os = "linux"));
        let share = |is_shared| {
            if let Some(holder) = &holder {
                holder.set_reuse_address(is_shared).unwrap();
            }
        };
        share(true);
        let started = start(self.address);
        share(false);
        self.holder = holder;
        started
    }
}
