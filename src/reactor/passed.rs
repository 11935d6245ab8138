//! The sockets that a service manager (systemd) listens on for us.
//!
//! Knows their purposes by their names; accepts nobody.

use std::io;

use listenfd::ListenFd;

use super::accept::Listener;

/// The listening sockets that a service manager passed us, by their purpose.
#[derive(Debug, Default)]
pub(crate) struct PassedListeners {
    pub(crate) clients: Vec<Listener>,
    pub(crate) admin: Option<Listener>,
}

impl PassedListeners {
    /// Takes as many sockets as `LISTEN_FDS` says (sd_listen_fds(3)), and unsets that; `names` are
    /// their names, separated by colons (`LISTEN_FDNAMES`). The one named `admin` is for the admin
    /// address, the others are for clients. Their order has no meaning: sockets of several units
    /// come in any.
    ///
    /// # Errors
    ///
    /// One of them is no TCP socket, two are named `admin`, or more than `clients_max` are for clients.
    pub(crate) fn take(names: &str, clients_max: usize) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut taken = Self::default();
        for index in 0..passed.len() {
            let is_admin = names.next() == Some(ADMIN_NAME);
            let Some(socket) = passed.take_tcp_listener(index)? else {
                continue;
            };
            let listener = Listener::adopt(socket.into())?;
            if !is_admin {
                taken.clients.push(listener);
            } else if taken.admin.replace(listener).is_some() {
                return Err(too_many("2 sockets are named admin"));
            }
        }
        match taken.clients.len() {
            count if count > clients_max => {
                Err(too_many(&format!("{count} sockets are for clients")))
            }
            _ => Ok(taken),
        }
    }
}

fn too_many(what: &str) -> io::Error {
    io::Error::other(format!(
        "{what}: set FileDescriptorName=admin for the admin address alone"
    ))
}

/// The `FileDescriptorName=` of systemd.socket(5). Without it a socket has the name of its unit.
const ADMIN_NAME: &str = "admin";
