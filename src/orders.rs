//! What a program tells a running bridge, or asks of it, from any thread.
//!
//! Owns the orders on their way, and their number. Refuses to know how one is carried out.

use std::{error::Error, fmt, io};

use crate::{
    access::{
        Permissions,
        question::{QuestionId, Ruling},
    },
    channel::{Channel, ChannelError, Payload, PayloadError},
    hub::{
        custom_protocol::{RawMessage, SendError},
        load::Load,
    },
    id::ClientId,
    operation::Promise,
    pg::session::ServerError,
    token_file::ReloadError,
};

/// One order, with the promise of its answer.
#[derive(Debug)]
pub(crate) enum Order {
    /// Notify by PostgreSQL.
    Publish(Channel, Payload, Promise<Result<(), PublishError>>),
    /// Deliver to the subscribers here; PostgreSQL knows nothing of it.
    Deliver(Channel, String, Promise<Result<(), PublishError>>),
    /// Send to one client.
    Send(ClientId, RawMessage, Promise<Result<usize, SendError>>),
    /// One client may do other things from now on.
    Permit(ClientId, Permissions, Promise<bool>),
    Load(Promise<Option<Load>>),
    Metrics(Promise<Option<String>>),
    Readiness(Promise<Result<(), String>>),
    Reload(Promise<Result<(), ReloadError>>),
    /// Leave connections waiting, or accept them again.
    Hold(bool),
    /// The answer to a question about a client.
    Rule(QuestionId, Ruling),
}

/// Orders that wait for the turn of the loop. Of answers about clients there is at most one for each;
/// of all others there are [`ORDERS_MAX`] at most.
#[derive(Debug, Default)]
pub(crate) struct Orders(Vec<Order>);

impl Orders {
    /// One more; gives it back if there are too many.
    pub(crate) fn push(&mut self, order: Order) -> Result<(), Order> {
        if self.0.len() >= ORDERS_MAX && !matches!(order, Order::Rule(..)) {
            return Err(order);
        }
        self.0.push(order);
        Ok(())
    }

    /// All of them.
    pub(crate) fn take(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The most orders that wait for one turn.
pub(crate) const ORDERS_MAX: usize = 4_096;

/// Why a notification of the program did not go out.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// The text cannot name a channel.
    Channel(ChannelError),
    /// The text cannot be a payload.
    Payload(PayloadError),
    /// PostgreSQL is not connected; nothing was sent.
    PostgresDown,
    /// PostgreSQL refused it.
    Refused(Box<ServerError>),
    /// The connection was lost, or the bridge stopped, before PostgreSQL answered: it may or may not
    /// be committed, and is never sent again.
    UnknownOutcome,
    /// Too much waits already; nothing was sent.
    Crowded,
    /// A bridge of a group delivers what PostgreSQL notifies, and nothing else; nothing was sent.
    Grouped,
    /// The channel is one on which bridges of a group speak to each other; nothing was sent.
    Reserved,
    /// The bridge has ended; nothing was sent.
    Stopped,
}

impl PublishError {
    pub(crate) fn stopped<T>(_: io::Error) -> Result<T, Self> {
        Err(Self::Stopped)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::PostgresDown => f.write_str("PostgreSQL is not connected"),
            Self::Refused(error) => write!(f, "PostgreSQL refused it: {error}"),
            Self::UnknownOutcome => f.write_str("PostgreSQL did not answer in time"),
            Self::Crowded => f.write_str("too much waits already"),
            Self::Grouped => f.write_str("a bridge of a group delivers no notification of its own"),
            Self::Reserved => f.write_str("the channel is for the bridges of a group"),
            Self::Stopped => f.write_str("the bridge has ended"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Channel(error) => Some(error),
            Self::Payload(error) => Some(error),
            Self::Refused(error) => Some(error),
            Self::PostgresDown
            | Self::UnknownOutcome
            | Self::Crowded
            | Self::Grouped
            | Self::Reserved
            | Self::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::intent::Decision, id::ClientId, operation::Operation};

    #[test]
    fn orders_are_bounded_but_for_answers_about_clients() {
        let mut orders = Orders::default();
        let metrics = || Order::Metrics(Operation::pending(|_| None).0);
        for _ in 0..ORDERS_MAX {
            assert!(orders.push(metrics()).is_ok());
        }
        assert!(orders.push(metrics()).is_err());
        let question = QuestionId {
            client: ClientId {
                slot: 0,
                generation: 0,
            },
            number: 0,
        };
        let rule = Order::Rule(question, Ruling::Do(Decision::Allow));
        assert!(orders.push(rule).is_ok());
        assert_eq!(orders.take().len(), ORDERS_MAX + 1);
        assert!(orders.is_empty());
    }
}
