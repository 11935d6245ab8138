//! What the program around a bridge orders, carried out; and what it is asked.
//!
//! Knows who is to be answered. What an order means is the hub's.

use std::{collections::HashMap, mem, sync::Arc};

use super::Reactor;
use crate::{
    access::visitor::Visitor,
    backend::command::Published,
    handle::{Admission, AdmissionTicket, Shared},
    id::ClientId,
    operation::Promise,
    orders::{Order, PublishError},
    token_file::ReloadError,
};

/// The program around us, and the answers that it is owed.
#[derive(Default)]
pub(super) struct Surrounding {
    /// Called for each client that wants to come in.
    admission: Option<Admission>,
    /// By ticket of the hub.
    publishes: HashMap<u32, Promise<Result<(), PublishError>>>,
}

impl Surrounding {
    pub(super) fn set_admission(&mut self, admission: Admission) {
        self.admission = Some(admission);
    }

    /// Asks about a client. The program's function must not block; it may answer later.
    pub(super) fn ask(&mut self, client: ClientId, visitor: Visitor, shared: &Arc<Shared>) {
        let ticket = AdmissionTicket::new(Arc::clone(shared), client);
        if let Some(admission) = &mut self.admission {
            admission(visitor, ticket);
        }
    }

    /// A publish of the program ended.
    pub(super) fn answer(&mut self, ticket: u32, published: Published) {
        if let Some(promise) = self.publishes.remove(&ticket) {
            promise.keep(outcome(published));
        }
    }
}

impl Reactor {
    /// Carries out what the program has ordered since the last turn.
    pub(super) fn take_orders(&mut self) {
        for order in self.shared.take_orders() {
            match order {
                Order::Publish(channel, payload, promise) => {
                    match self.hub.publish_own(channel, payload) {
                        Ok(ticket) => {
                            let before = self.surrounding.publishes.insert(ticket, promise);
                            debug_assert!(before.is_none(), "a ticket is of one publish");
                        }
                        Err(published) => promise.keep(outcome(published)),
                    }
                }
                Order::Deliver(channel, payload, promise) => {
                    let is_delivered = self.hub.deliver_own(channel, payload);
                    promise.keep(is_delivered.then_some(()).ok_or(PublishError::Grouped));
                }
                Order::Metrics(promise) => promise.keep(Some(self.hub.metrics_text())),
                Order::Readiness(promise) => {
                    let readiness = self.hub.readiness();
                    promise.keep(readiness.map_err(|reason| reason.into_owned()));
                }
                Order::Reload(promise) => promise.keep(self.reread_credentials()),
                Order::Hold(is_held) => self.hold_clients(is_held),
                Order::Judge(client, verdict) => self.hub.handle_verdict(client, verdict),
            }
        }
    }

    /// Leaves connections waiting at the socket, or accepts them again.
    pub(crate) fn hold_clients(&mut self, is_held: bool) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.hold(is_held);
        }
    }

    /// A file that cannot be read changes nothing.
    pub(super) fn reread_credentials(&mut self) -> Result<(), ReloadError> {
        self.hub.ask_again();
        self.clients.renew_tls();
        let Some(files) = &mut self.credential_files else {
            return Ok(());
        };
        let contents = files.contents();
        match files.read() {
            Ok(credentials) => {
                self.hub.handle_credentials(credentials);
                tracing::info!(target: "alle::bridge", "{contents} were read again");
                Ok(())
            }
            Err(error) => {
                tracing::error!(target: "alle::bridge", "{contents} stay as they were: {error}");
                Err(error)
            }
        }
    }

    /// The loop has ended: what PostgreSQL has not answered is unknown.
    pub(super) fn give_up_orders(&mut self) {
        for (_, promise) in mem::take(&mut self.surrounding.publishes) {
            promise.keep(Err(PublishError::UnknownOutcome));
        }
    }
}

fn outcome(published: Published) -> Result<(), PublishError> {
    Err(match published {
        Published::Committed => return Ok(()),
        Published::Refused(error) => PublishError::Refused(Box::new(error)),
        Published::Unknown => PublishError::UnknownOutcome,
        Published::NotSent => PublishError::PostgresDown,
        Published::Crowded => PublishError::Crowded,
    })
}
