//! What a bridge and a stand-alone server take of the program around them alike: a socket, functions
//! to be asked, and a receiver to be told.
//!
//! Knows neither what is served nor what an answer means.

#![expect(
    clippy::disallowed_types,
    reason = "a listener of the program is taken here, and passed on to the reactor"
)]

use std::{fmt, io, net::TcpListener, sync::Arc};

use crate::{
    access::{Access, intent::Intent, visitor::Visitor},
    handle::{Handle, Owner},
    hub::Hub,
    id::ClientId,
    queue::lifecycle::{self, LifecycleEvents, LifecycleSender},
    reactor::{Listener, Reactor},
    tickets::{Admission, AdmissionTicket, Authorization, AuthorizationTicket},
};

/// What the program gave before the start.
#[derive(Default)]
pub(crate) struct FrontDoor {
    listener: Option<TcpListener>,
    admission: Option<Admission>,
    authorization: Option<Authorization>,
    lifecycle: Option<LifecycleSender>,
    pub(crate) owner: Owner,
}

impl FrontDoor {
    // ---- from the program

    pub(crate) fn set_listener(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
    }

    pub(crate) fn set_admission(
        &mut self,
        admission: impl FnMut(Visitor, AdmissionTicket) + Send + 'static,
    ) {
        self.admission = Some(Box::new(admission));
    }

    pub(crate) fn set_authorization(
        &mut self,
        authorization: impl FnMut(ClientId, Intent, AuthorizationTicket) + Send + 'static,
    ) {
        self.authorization = Some(Box::new(authorization));
    }

    /// What was told to an earlier receiver is told to this one from now on.
    pub(crate) fn set_lifecycle(&mut self, capacity: usize) -> LifecycleEvents {
        let (sender, events) = lifecycle::channel(capacity);
        self.lifecycle = Some(sender);
        events
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.owner.0))
    }

    // ---- for the start

    /// The program's own socket, if it gave one.
    pub(crate) fn take_listener(&mut self) -> io::Result<Option<Listener>> {
        self.listener.take().map(Listener::from_std).transpose()
    }

    /// Whether the program gave a socket of its own.
    pub(crate) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    /// Whether it is told of clients.
    pub(crate) fn tells_lifecycle(&self) -> bool {
        self.lifecycle.is_some()
    }

    /// The rules name whom the program is asked about.
    pub(crate) fn complete(&self, access: &mut Access) {
        access.is_asked = self.admission.is_some();
        access.asks_intents = self.authorization.is_some();
    }

    /// The reactor that serves, and who is its owner.
    pub(crate) fn open(self, hub: Hub, listener: Listener) -> io::Result<(Reactor, Owner)> {
        let mut reactor = Reactor::new(hub, listener, Arc::clone(&self.owner.0))?;
        reactor.set_surrounding(self.admission, self.authorization, self.lifecycle);
        Ok((reactor, self.owner))
    }
}

impl fmt::Debug for FrontDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontDoor").finish_non_exhaustive()
    }
}
