//! The port of a sandbox: found once, and reserved until the sandbox is dropped.
//!
//! Knows how a socket that never listens keeps the port reserved, even while there is no server.
//! Refuses to know the server: it is told when one is about to listen.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    /// Bound, and never listening: connections are refused, as on a free port.
    ///
    /// `None` where no other socket could listen beside it: SO_REUSEADDR permits that on Linux
    /// alone (socket(7)).
    holder: Option<Socket>,
}

impl Port {
    /// Reserves the port `number` if it is free.
    pub(super) fn hold(number: u16) -> io::Result<Self> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        holder.bind(&address.into())?;
        Ok(Self {
            number,
            holder: cfg!(target_os = "linux").then_some(holder),
        })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Lets `start` run a server on the port; no other process can listen before or afterwards.
    pub(super) fn lend<T>(&self, start: impl FnOnce(u16) -> T) -> io::Result<T> {
        self.share(true)?;
        let started = start(self.number);
        self.share(false)?;
        Ok(started)
    }

    fn share(&self, is_shared: bool) -> io::Result<()> {
        let set = |holder: &Socket| holder.set_reuse_address(is_shared);
        self.holder.as_ref().map_or(Ok(()), set)
    }
}

pub(super) fn random() -> u16 {
    // Seeded anew in each process; not worth a source of randomness of its own.
    let random = RandomState::new().hash_one(()) % u64::from(PORT_COUNT);
    PORT_FIRST + u16::try_from(random).expect("a remainder is below its divisor")
}

/// Below the ports that systems give to clients, 32768 and up on Linux: an outgoing connection may
/// take one of those while the server is down.
pub(super) const PORT_FIRST: u16 = 15_000;
pub(super) const PORT_COUNT: u16 = 17_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_below_those_given_to_clients() {
        for _ in 0..1_000 {
            assert!((15_000..32_000).contains(&random()));
        }
    }
}
