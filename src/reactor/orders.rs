//! What the program around a bridge orders, carried out; and what it is asked.
//!
//! Knows who is to be answered. What an order means is the hub's.

use std::{collections::HashMap, mem, sync::Arc};

use super::Reactor;
use crate::{
    access::question::{Question, QuestionId},
    backend::command::Published,
    handle::Shared,
    hub::lifecycle::LifecycleEvent,
    operation::Promise,
    orders::{Order, PublishError},
    queue::lifecycle::LifecycleSender,
    tickets::{Admission, AdmissionTicket, Authorization, AuthorizationTicket},
    token_file::ReloadError,
};

/// The program around us, and the answers that it is owed.
#[derive(Default)]
pub(super) struct Surrounding {
    /// Called for each client that wants to come in.
    admission: Option<Admission>,
    /// Called for each thing that a client wants to do.
    authorization: Option<Authorization>,
    /// Told of clients and of the bridge.
    lifecycle: Option<LifecycleSender>,
    /// By ticket of the hub.
    publishes: HashMap<u32, Promise<Result<(), PublishError>>>,
}

impl Surrounding {
    /// Asks about a client. The program's functions must not block; they may answer later.
    pub(super) fn ask(&mut self, id: QuestionId, question: Question, shared: &Arc<Shared>) {
        let shared = Arc::clone(shared);
        match question {
            Question::Visit(visitor) => {
                let ticket = AdmissionTicket::new(shared, id);
                if let Some(admission) = &mut self.admission {
                    admission(visitor, ticket);
                }
            }
            Question::Do(intent) => {
                let ticket = AuthorizationTicket::new(shared, id);
                if let Some(authorization) = &mut self.authorization {
                    authorization(id.client, intent, ticket);
                }
            }
        }
    }

    /// Tells what happened.
    pub(super) fn tell(&self, event: LifecycleEvent) {
        if let Some(lifecycle) = &self.lifecycle {
            lifecycle.tell(event);
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
                Order::Send(client, message, promise) => {
                    promise.keep(self.hub.send_own(client, &message));
                }
                Order::Permit(client, permissions, promise) => {
                    promise.keep(self.hub.set_permissions(client, permissions));
                }
                Order::Load(promise) => promise.keep(Some(self.hub.load())),
                Order::Metrics(promise) => promise.keep(Some(self.hub.metrics_text())),
                Order::Readiness(promise) => {
                    let readiness = self.hub.readiness();
                    promise.keep(readiness.map_err(|reason| reason.into_owned()));
                }
                Order::Reload(promise) => promise.keep(self.reread_credentials()),
                Order::Hold(is_held) => self.hold_clients(is_held),
                Order::Rule(question, ruling) => self.hub.handle_ruling(question, ruling),
            }
        }
    }

    /// The program is asked by these about clients, as the hub's settings say, and told of them.
    pub(crate) fn set_surrounding(
        &mut self,
        admission: Option<Admission>,
        authorization: Option<Authorization>,
        lifecycle: Option<LifecycleSender>,
    ) {
        if lifecycle.is_some() {
            // What there is at the start is told before anything else happens.
            self.shared.wake();
        }
        self.surrounding = Surrounding {
            admission,
            authorization,
            lifecycle,
            publishes: HashMap::new(),
        };
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
