//! `examine`: opens the two sessions of a bridge to find out whether it can work with a PostgreSQL.
//!
//! Owns a loop that ends as soon as both sessions are proved, one has failed, or time is up;
//! `findings` judges the result. Knows no clients, and keeps no session open afterwards.

#![expect(clippy::disallowed_methods, reason = "the loop ends when time is up")]

mod findings;
mod group;

use std::{
    io,
    time::{Duration, Instant},
};

pub use self::findings::{Finding, Verdict};
use crate::{
    backend::{Backend, Control, Event, Role},
    config::BridgeConfig,
    error::BridgeError,
    group_config,
    hub::group::RollCall,
    reactor::BackendReactor,
    startup,
};

/// Opens the sessions of `config` as a bridge would, notifies one from the other, and returns the
/// findings, one [`Finding`] a subject, in the order of a connection's life; where there is a group, also
/// the bridges of it that are there. Takes at most the time
/// in which a bridge tries all servers once, and three seconds more.
///
/// # Errors
///
/// [`BridgeError::PostgresUrl`] if a connection string is malformed, [`BridgeError::AuthFunction`] if
/// the name of the function is, [`BridgeError::Io`] if the operating system refuses a poll, and those
/// of the group and of its key file. A PostgreSQL that cannot be used is a finding.
pub fn examine(config: &BridgeConfig) -> Result<Vec<Finding>, BridgeError> {
    let configs = startup::postgres_configs(config).map_err(BridgeError::PostgresUrl)?;
    let function = startup::auth_function(config).map_err(BridgeError::AuthFunction)?;
    let seed = startup::seed().map_err(BridgeError::Io)?;
    let call = group_config::settings(config)?.map(RollCall::new);
    let control = call.as_ref().map(|call| call.control().clone());
    let backend = Backend::new(configs, seed, Instant::now())
        .with_control(control)
        .with_function(function);
    let mut examination = Examination {
        sessions: BackendReactor::new(backend).map_err(BridgeError::Io)?,
        proof: Proof::default(),
        calling: call.map(Calling::new),
    };
    examination.run().map_err(BridgeError::Io)?;
    let Examination {
        sessions,
        proof,
        calling,
    } = examination;
    let mut findings = findings::judge(sessions.backend(), proof.heard_after);
    if let (Some(calling), Some(name)) = (&calling, &config.group) {
        findings.extend(group::judge(&calling.call, name));
    }
    Ok(findings)
}

struct Examination {
    sessions: BackendReactor,
    proof: Proof,
    /// Where there is a group.
    calling: Option<Calling>,
}

/// The proof that a notification of one session reaches the other.
#[derive(Default)]
struct Proof {
    /// When the publishing session came up.
    publishing_up_at: Option<Instant>,
    /// The time from then to the arrival of its notification.
    heard_after: Option<Duration>,
}

/// The roll call of a group, under way.
struct Calling {
    call: RollCall,
    /// The publishing session's backend, and the start of its server.
    serving: Option<(i32, i64)>,
    /// Since when the hello is out.
    said_at: Option<Instant>,
    /// PostgreSQL refused it.
    is_lost: bool,
}

impl Examination {
    fn run(&mut self) -> io::Result<()> {
        let began = Instant::now();
        // It grows with the addresses that are found.
        let deadline =
            |sessions: &BackendReactor| began + sessions.backend().round_timeout() + MARGIN;
        while !self.is_decided() && Instant::now() < deadline(&self.sessions) {
            let answers = self.calling.as_ref().and_then(Calling::until);
            let deadline = deadline(&self.sessions);
            let until = answers.map_or(deadline, |it| it.min(deadline));
            let (proof, calling) = (&mut self.proof, &mut self.calling);
            let react = |backend: &mut Backend, now| {
                proof.note_events(backend, calling.as_mut(), now);
                if let Some(calling) = calling {
                    calling.say_hello(backend, now);
                }
            };
            self.sessions.turn(Some(until), react)?;
        }
        self.sessions.terminate();
        Ok(())
    }

    fn is_decided(&self) -> bool {
        let backend = self.sessions.backend();
        let has_failed = |role| backend.failure(role).is_some();
        let is_settled = |role| has_failed(role) || backend.is_up(role);
        let is_measured = backend.session(Role::Listening).is_some_and(|it| {
            // This query precedes the proof, and so does its answer.
            it.queue_usage().is_some()
        });
        let is_judged = self.proof.heard_after.is_some() || backend.refusal().is_some();
        let are_settled = has_failed(Role::Listening) && is_settled(Role::Publishing)
            || has_failed(Role::Publishing) && is_settled(Role::Listening)
            || is_judged && is_measured && self.is_called();
        let is_function_judged = backend.function().is_none()
            || backend.function_verdict().is_some()
            || has_failed(Role::Authorizing);
        are_settled && is_function_judged
    }

    /// Whether the group was heard, as far as there is one.
    fn is_called(&self) -> bool {
        let calling = self.calling.as_ref();
        calling.is_none_or(|it| it.is_over(Instant::now()))
    }
}

impl Proof {
    fn note_events(
        &mut self,
        backend: &mut Backend,
        mut calling: Option<&mut Calling>,
        now: Instant,
    ) {
        let (up_at, heard_after) = (&mut self.publishing_up_at, &mut self.heard_after);
        backend.drain_events(now, |event| match event {
            Event::Up(Role::Publishing, _) => *up_at = Some(now),
            Event::Proved(true) => *heard_after = up_at.map(|up_at| now - up_at),
            Event::Control(control) => {
                if let Some(calling) = &mut calling {
                    calling.note(control);
                }
            }
            Event::Up(Role::Listening | Role::Authorizing, _)
            | Event::Down(_)
            | Event::Absent(_)
            | Event::Refused(_)
            | Event::TlsGivenUp(_)
            | Event::Proved(false)
            | Event::Unfit(_)
            | Event::Committed(_)
            | Event::QueueUsage(_)
            | Event::Stalled(_)
            | Event::Listened(..)
            | Event::Unlistened(_)
            | Event::Notification { .. }
            | Event::Published(..)
            | Event::Function(_)
            | Event::Called(..) => {}
        });
    }
}

impl Calling {
    fn new(call: RollCall) -> Self {
        Self {
            call,
            serving: None,
            said_at: None,
            is_lost: false,
        }
    }

    fn note(&mut self, control: Control<'_>) {
        match control {
            Control::Serving {
                role: Role::Publishing,
                process_id,
                server_start,
            } => self.serving = Some((process_id, server_start)),
            Control::Serving { .. } | Control::Present(_) => {}
            Control::Message {
                process_id,
                payload,
            } => self.call.handle_message(process_id, payload),
            Control::Members(pids) => self.call.handle_members(pids),
            Control::Lost => self.is_lost = true,
        }
    }

    /// Once both sessions are up.
    fn say_hello(&mut self, backend: &mut Backend, now: Instant) {
        let is_up = Role::PAIR.into_iter().all(|role| backend.is_up(role));
        let Some((pid, server_start)) = self.serving.filter(|_| is_up && self.said_at.is_none())
        else {
            return;
        };
        self.said_at = Some(now);
        if !backend.ask_members(false) {
            self.call.handle_members(Vec::new());
        }
        backend.tell(self.call.hello(pid, server_start));
    }

    /// The end of waiting for those that do not answer.
    fn until(&self) -> Option<Instant> {
        self.said_at.map(|it| it + ANSWER_TIMEOUT)
    }

    fn is_over(&self, now: Instant) -> bool {
        let is_late = self.until().is_some_and(|until| now >= until);
        self.is_lost || self.call.is_complete() || is_late
    }
}

/// From the hello to a group on, for those that are in it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for the notification, beside that for connecting.
const MARGIN: Duration = Duration::from_secs(3);
