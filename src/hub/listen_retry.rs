//! Channels that PostgreSQL refused to listen to: told to whom it concerns, and asked for again.

use super::encode::append_message;
use std::time::Duration;

use super::{
    deadlines::elapsed,
    parts::{Hub, Subscribe},
};
use crate::{
    backend::interest::Interest,
    channel::ChannelKey,
    id::Tick,
    message::{ErrorCode, ServerMessage},
    pg::session::ServerError,
};

/// When refused channels are asked for again, and how long after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    since: Tick,
    after: Duration,
}

impl Hub {
    pub(super) fn handle_listen_refused(
        &mut self,
        key: ChannelKey,
        error: &ServerError,
        now: Tick,
    ) {
        let channel = self.index.name(key).clone();
        tracing::warn!(
            channel = channel.as_str(),
            "PostgreSQL refused to LISTEN: {error}"
        );
        let name = channel.as_str();
        let (text, sqlstate) = (error.message.as_str(), error.sqlstate.as_str());
        for (slot, requests) in std::mem::take(&mut self.listening.state_mut(key).waiting) {
            self.clients[slot as usize].forget_waiting(key, requests.len());
            for Subscribe { id, .. } in requests {
                self.metrics.errors.add(ErrorCode::PostgresError.label());
                let refusal = ServerMessage::postgres_error(text, sqlstate, name, id.as_ref());
                self.answer(slot, &refusal, now);
            }
        }
        self.scratch.clear();
        let refusal = ServerMessage::postgres_error(text, sqlstate, name, None);
        append_message(&refusal, &mut self.scratch);
        self.fan_out_scratch(key);
        let state = self.listening.state_mut(key);
        state.interest.refused();
        if state.interest == Interest::Refused {
            self.listening.retry.get_or_insert(Retry {
                since: now,
                after: Interest::RETRY_MIN,
            });
        }
        self.unwant_if_deserted(key, now);
    }

    /// Asks again for channels PostgreSQL refused, when their time has come.
    pub(super) fn retry_refused(&mut self, now: Tick) {
        let Some(retry) = self.listening.retry else {
            return;
        };
        if elapsed(retry.since, now) < retry.after || !self.listening.session_up {
            return;
        }
        self.listening.retry = None;
        let keys: Vec<_> = self.index.channels().collect();
        for key in keys {
            if self.listening.state_mut(key).interest == Interest::Refused {
                let after = (retry.after * 2).min(Interest::RETRY_MAX);
                self.listening.retry = Some(Retry { since: now, after });
                self.listening.to_listen.push_back(key);
            }
        }
        self.listen_to_waiting();
    }
}
