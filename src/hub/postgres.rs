//! What is known of PostgreSQL as a whole: which sessions are up, what was proved, and what clients
//! were told last.
//!
//! Knows no client.

use std::{borrow::Cow, time::Instant};

use crate::{
    backend::{Stall, Unfit, interests::Interests},
    channel::LengthUnit,
    message::PostgresStatus,
    pg::{function::FunctionFault, session::ServerError},
};

/// The state of PostgreSQL as clients and probes see it.
#[derive(Debug)]
pub(super) struct Postgres {
    /// How the server counts the bytes of names and payloads.
    pub(super) length_unit: LengthUnit,
    /// A publish can be sent.
    pub(super) is_publishing_up: bool,
    /// A publish was heard, as far as we know.
    pub(super) is_proved: bool,
    /// Why the last probe was refused, until one is heard.
    pub(super) refusal: Option<ServerError>,
    /// No publish commits.
    pub(super) stall: Option<Stall>,
    /// How full PostgreSQL's queue was when last measured, from 0 to 1.
    pub(super) queue_usage: f64,
    /// Why the last server that let us in would not do.
    pub(super) unfit: Option<Unfit>,
    /// Whether the function that says whose a token is can be called; `None` while nobody knows.
    pub(super) function: Option<Result<(), FunctionFault>>,
    /// `Up` also while nothing was told, since nothing has failed.
    announced: PostgresStatus,
    /// When clients are told that the listening session is lost, which others may make up for.
    down_due: Option<Instant>,
}

impl Postgres {
    /// Whether clients are to be told of this now, which they were not yet.
    pub(super) fn announce(&mut self, status: PostgresStatus) -> bool {
        std::mem::replace(&mut self.announced, status) != status
    }

    /// Clients are not told before that, or before [`Self::take_withheld`], that the session is lost.
    pub(super) fn withhold_down(&mut self, until: Instant) {
        if !self.is_announced_down() {
            self.down_due.get_or_insert(until);
        }
    }

    /// Whether clients are to be told after all that the session is lost.
    pub(super) fn take_withheld(&mut self) -> bool {
        self.down_due.take().is_some()
    }

    /// The same, if it is time.
    pub(super) fn take_withheld_until(&mut self, now: Instant) -> bool {
        self.down_due.take_if(|due| *due <= now).is_some()
    }

    /// When that is.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.down_due
    }

    /// Whether clients were told last that PostgreSQL is down.
    pub(super) fn is_announced_down(&self) -> bool {
        self.announced == PostgresStatus::Down
    }

    /// Why not every wanted channel is heard, if so.
    pub(super) fn listening_readiness(
        &self,
        interests: &Interests,
    ) -> Result<(), Cow<'static, str>> {
        if !interests.is_up() {
            Err(self.absence().into())
        } else if interests.unsettled_count() > 0 {
            Err("channels are being listened to".into())
        } else if interests.refused_count() > 0 {
            Err("PostgreSQL refused to listen to a channel".into())
        } else {
            Ok(())
        }
    }

    /// Why a publish would not commit and be heard, if so.
    pub(super) fn publishing_readiness(&self) -> Result<(), Cow<'static, str>> {
        if !self.is_publishing_up {
            Err("the publishing session is not connected".into())
        } else if let Some(stall) = self.stall {
            Err(stall.to_string().into())
        } else if let Some(refusal) = &self.refusal {
            Err(format!("PostgreSQL refuses to notify: {refusal}").into())
        } else if !self.is_proved {
            Err("no notification of the publishing session was heard yet".into())
        } else {
            Ok(())
        }
    }

    /// Why nobody can say whose a token is that the function is asked about, if so.
    pub(super) fn function_readiness(&self) -> Result<(), Cow<'static, str>> {
        match &self.function {
            Some(Ok(())) => Ok(()),
            Some(Err(fault)) => Err(format!("the function {fault}").into()),
            None => Err("the function that says whose a token is was not looked at yet".into()),
        }
    }

    /// Why no listening session is up.
    fn absence(&self) -> &'static str {
        match self.unfit {
            None => "PostgreSQL is not connected",
            Some(Unfit::Standby) => "PostgreSQL is a standby, where nobody can listen",
            Some(Unfit::Pooler) => "a pooler stands before PostgreSQL: notifications get lost",
            Some(Unfit::Deaf) => "notifications sent to PostgreSQL do not come back",
        }
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            length_unit: LengthUnit::Utf8,
            is_publishing_up: false,
            is_proved: false,
            refusal: None,
            stall: None,
            queue_usage: 0.0,
            unfit: None,
            function: None,
            announced: PostgresStatus::Up,
            down_due: None,
        }
    }
}
