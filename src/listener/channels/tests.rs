//! Callers, and a PostgreSQL that answers as the test says.

use std::time::Duration;

use super::*;
use crate::{backend::command::Verb, listener::requests::Reply, operation::Operation};

type Answer = Operation<Result<(), ListenerError>>;

fn caller() -> (Reply, Answer) {
    let (promise, answer) = Operation::pending(|_| Err(ListenerError::Ended));
    (Reply::new(promise, None), answer)
}

fn channel() -> Channel {
    Channel::new("c").unwrap()
}

fn up() -> Channels {
    let mut channels = Channels::default();
    channels.handle_up();
    channels
}

impl Channels {
    fn ask_listen(&mut self) -> Answer {
        let (reply, answer) = caller();
        self.listen(channel(), reply);
        answer
    }

    fn ask_unlisten(&mut self) -> Answer {
        let (reply, answer) = caller();
        self.unlisten(&channel(), reply);
        answer
    }

    #[track_caller]
    fn expect_listen(&mut self) -> ChannelKey {
        match self.poll_command() {
            Some(Command {
                verb: Verb::Listen,
                key,
                channel: name,
            }) if *name == channel() => key,
            command => panic!("not LISTEN: {command:?}"),
        }
    }

    #[track_caller]
    fn expect_unlisten(&mut self) -> ChannelKey {
        match self.poll_command() {
            Some(Command {
                verb: Verb::Unlisten,
                key,
                channel: name,
            }) if *name == channel() => key,
            command => panic!("not UNLISTEN: {command:?}"),
        }
    }

    /// Listened to, and a caller knows.
    fn held(now: Instant) -> Self {
        let mut channels = up();
        let answer = channels.ask_listen();
        let key = channels.expect_listen();
        assert_eq!(channels.handle_listened(key, Ok(()), now), None);
        assert!(matches!(answer.try_outcome(), Some(Ok(()))));
        channels
    }

    #[track_caller]
    fn expect_forgotten(&mut self) {
        assert!(self.poll_command().is_none());
        assert!(self.interests.is_empty());
    }
}

fn now() -> Instant {
    crate::startup::now()
}

fn refusal() -> ServerError {
    ServerError {
        sqlstate: "25006".to_owned(),
        ..ServerError::default()
    }
}

#[test]
fn listen_is_answered_only_after_it_is_confirmed() {
    let mut channels = up();
    let [first, second] = [(); 2].map(|()| channels.ask_listen());
    let key = channels.expect_listen();
    assert!(channels.poll_command().is_none(), "one LISTEN a channel");
    assert!(channels.find_listened(b"c").is_none());
    assert!(first.try_outcome().is_none());
    assert_eq!(channels.handle_listened(key, Ok(()), now()), None);
    for answer in [first, second, channels.ask_listen()] {
        assert!(matches!(answer.try_outcome(), Some(Ok(()))));
    }
    assert_eq!(channels.find_listened(b"c"), Some(&channel()));
    assert_eq!(channels.find_listened(b"\xff"), None);
}

#[test]
fn unlisten_is_answered_only_after_it_is_confirmed() {
    let mut channels = Channels::held(now());
    let answer = channels.ask_unlisten();
    let key = channels.expect_unlisten();
    assert_eq!(channels.find_listened(b"c"), Some(&channel()), "until then");
    assert!(answer.try_outcome().is_none());
    channels.handle_unlistened(key);
    assert!(matches!(answer.try_outcome(), Some(Ok(()))));
    channels.expect_forgotten();
    assert!(matches!(
        channels.ask_unlisten().try_outcome(),
        Some(Ok(()))
    ));
}

#[test]
fn an_unlisten_that_overtakes_a_listen_cancels_it() {
    let mut channels = up();
    let listen = channels.ask_listen();
    let key = channels.expect_listen();
    let unlisten = channels.ask_unlisten();
    assert!(matches!(
        listen.try_outcome(),
        Some(Err(ListenerError::Cancelled))
    ));
    assert_eq!(channels.handle_listened(key, Ok(()), now()), None);
    let key = channels.expect_unlisten();
    channels.handle_unlistened(key);
    assert!(matches!(unlisten.try_outcome(), Some(Ok(()))));
    channels.expect_forgotten();
}

#[test]
fn a_listen_that_overtakes_an_unlisten_is_answered_by_a_new_listen() {
    let mut channels = Channels::held(now());
    let unlisten = channels.ask_unlisten();
    let key = channels.expect_unlisten();
    let listen = channels.ask_listen();
    channels.handle_unlistened(key);
    assert!(matches!(unlisten.try_outcome(), Some(Ok(()))));
    let key = channels.expect_listen();
    assert_eq!(channels.handle_listened(key, Ok(()), now()), None, "no gap");
    assert!(matches!(listen.try_outcome(), Some(Ok(()))));
}

#[test]
fn a_held_channel_is_listened_to_again_and_has_a_gap() {
    let mut channels = Channels::held(now());
    channels.handle_down();
    assert!(channels.find_listened(b"c").is_none());
    let down = channels.ask_listen();
    assert!(matches!(
        down.try_outcome(),
        Some(Err(ListenerError::PostgresDown))
    ));
    channels.handle_up();
    let key = channels.expect_listen();
    assert!(channels.find_listened(b"c").is_none());
    let gap = channels.handle_listened(key, Ok(()), now());
    assert_eq!(gap, Some(channel()));
    assert_eq!(channels.find_listened(b"c"), Some(&channel()));
}

#[test]
fn requests_under_way_end_when_postgres_goes_down() {
    let mut channels = up();
    let listen = channels.ask_listen();
    channels.handle_down();
    assert!(matches!(
        listen.try_outcome(),
        Some(Err(ListenerError::PostgresDown))
    ));
    channels.expect_forgotten();

    let mut channels = Channels::held(now());
    let unlisten = channels.ask_unlisten();
    channels.handle_down();
    assert!(matches!(unlisten.try_outcome(), Some(Ok(()))));
    channels.expect_forgotten();
}

#[test]
fn a_refused_listen_is_forgotten_and_a_held_channel_asked_for_again() {
    let mut channels = up();
    let listen = channels.ask_listen();
    let key = channels.expect_listen();
    channels.handle_listened(key, Err(refusal()), now());
    let answer = listen.try_outcome();
    assert!(matches!(answer, Some(Err(ListenerError::Refused(error))) if *error == refusal()));
    assert_eq!(channels.poll_timeout(), None);
    channels.expect_forgotten();

    let mut now = now();
    let mut channels = Channels::held(now);
    channels.handle_down();
    channels.handle_up();
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let key = channels.expect_listen();
        channels.handle_listened(key, Err(refusal()), now);
        let due = now + Duration::from_secs(seconds);
        assert_eq!(channels.poll_timeout(), Some(due));
        channels.handle_timeout(due - Duration::from_nanos(1));
        assert!(channels.poll_command().is_none());
        channels.handle_timeout(due);
        now = due;
    }
    let key = channels.expect_listen();
    let gap = channels.handle_listened(key, Ok(()), now);
    assert_eq!(gap, Some(channel()));
}
