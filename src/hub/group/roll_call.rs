//! A roll call: who of a group is there and answers, asked by a program that is no bridge of it.
//!
//! It says one hello and greets nobody, so that no bridge reckons with it. Refuses to know sessions and
//! sockets: what PostgreSQL says comes in, and the hello goes out.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    encoding::BridgeId,
    joining::bridge_id,
    seal::{Header, Seal, Unreadable},
    settings::GroupSettings,
    wire::Message,
};
use crate::channel::{Channel, Payload};

/// One roll call.
///
/// Once the publishing session is up: [`Self::hello`], whose payload is published on
/// [`Self::control`]. Whatever comes on that channel goes to [`Self::handle_message`], and the other
/// backends that are in the group, as PostgreSQL says, to [`Self::handle_members`].
#[derive(Debug)]
pub struct RollCall {
    seal: Seal,
    id: BridgeId,
    /// The hello came back.
    is_heard: bool,
    members: Option<BTreeSet<i32>>,
    replies: BTreeMap<i32, Reply>,
}

/// What a backend that is in the group, or speaks on its channel, was heard to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answered the hello.
    Present,
    /// Nothing, or nothing to us.
    None,
    /// It speaks another version of the protocol.
    OtherVersion,
    /// What it says is not sealed with our key, or not as without one.
    OtherKey,
}

impl RollCall {
    /// The version of the protocol that is spoken here.
    pub const VERSION: &str = super::seal::VERSION;

    /// Of the group that the settings name.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            id: bridge_id(settings.seed, 1),
            seal: Seal::new(settings.control, settings.key),
            is_heard: false,
            members: None,
            replies: BTreeMap::new(),
        }
    }

    /// The control channel of the group.
    pub fn control(&self) -> &Channel {
        self.seal.channel()
    }

    /// Whether messages are sealed with a secret.
    pub fn has_key(&self) -> bool {
        self.seal.has_key()
    }

    /// The hello of this backend, of a server that was started then.
    pub fn hello(&self, pid: i32, server_start: i64) -> Payload {
        let header = Header {
            id: self.id,
            pid,
            counter: 1,
            server_start,
        };
        self.seal.seal(header, &Message::Hello)
    }

    /// A notification on the control channel.
    pub fn handle_message(&mut self, pid: i32, payload: &[u8]) {
        let reply = match self.seal.open(pid, payload) {
            Ok((header, _)) if header.id == self.id => {
                self.is_heard = true;
                return;
            }
            Ok((_, Some(Message::Welcome { to }))) if to == self.id => Reply::Present,
            Ok(_) => Reply::None,
            Err(Unreadable::Version) => Reply::OtherVersion,
            Err(Unreadable::Forged) => Reply::OtherKey,
            Err(Unreadable::Malformed) => return,
        };
        if self.replies.len() < REPLIES_MAX {
            let before = self.replies.entry(pid).or_insert(reply);
            if *before == Reply::None {
                *before = reply;
            }
        }
    }

    /// These backends are in the group, as PostgreSQL says.
    pub fn handle_members(&mut self, pids: Vec<i32>) {
        self.members = Some(pids.into_iter().collect());
    }

    /// Whether the hello was heard.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Whether nothing more is to come: each backend that is in the group has answered.
    pub fn is_complete(&self) -> bool {
        let members = self.members.as_ref();
        let reply = |pid| self.replies.get(pid).copied().unwrap_or(Reply::None);
        self.is_heard && members.is_some_and(|it| it.iter().all(|pid| reply(pid) != Reply::None))
    }

    /// Each backend that is in the group, or was heard on its channel, with its reply.
    pub fn replies(&self) -> impl Iterator<Item = (i32, Reply)> {
        let mut replies = self.replies.clone();
        for &pid in self.members.iter().flatten() {
            replies.entry(pid).or_insert(Reply::None);
        }
        replies.into_iter()
    }
}

/// Backends that are remembered: whoever may connect can say something on the channel.
const REPLIES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::{super::GroupKey, *};

    const PIDS: [i32; 3] = [7, 8, 9];

    fn settings(key: u8, seed: u64) -> GroupSettings {
        GroupSettings {
            control: GroupSettings::control_channel("g").unwrap(),
            key: GroupKey::new(&[key; 32]),
            seed,
            is_private: false,
            fill_bytes_max: 0,
        }
    }

    fn said(key: u8, pid: i32, message: &Message) -> Vec<u8> {
        let settings = settings(key, 0);
        let header = Header {
            id: BridgeId(u64::from(pid.unsigned_abs())),
            pid,
            counter: 1,
            server_start: 0,
        };
        let payload = Seal::new(settings.control, settings.key).seal(header, message);
        payload.as_str().as_bytes().to_vec()
    }

    #[test]
    fn whoever_is_there_and_answers_is_told_from_who_does_not() {
        let mut call = RollCall::new(settings(1, 5));
        let hello = call.hello(1, 0);
        assert!(!call.is_heard());
        call.handle_message(1, hello.as_str().as_bytes());
        assert!(call.is_heard() && !call.is_complete());
        call.handle_members(PIDS.to_vec());
        let welcome = Message::Welcome { to: call.id };
        call.handle_message(7, &said(1, 7, &Message::Barrier));
        call.handle_message(7, &said(1, 7, &welcome));
        call.handle_message(8, &said(2, 8, &Message::Barrier));
        call.handle_message(10, b"2 whatever");
        call.handle_message(11, b"nonsense");
        assert!(!call.is_complete());
        let replies: Vec<_> = call.replies().collect();
        let expected = [
            (7, Reply::Present),
            (8, Reply::OtherKey),
            (9, Reply::None),
            (10, Reply::OtherVersion),
        ];
        assert_eq!(replies, expected);
        call.handle_message(9, &said(1, 9, &welcome));
        assert!(call.is_complete());
    }

    #[test]
    fn only_so_many_backends_are_remembered() {
        let mut call = RollCall::new(settings(1, 5));
        for pid in 0..300 {
            call.handle_message(pid, b"2 x");
        }
        assert_eq!(call.replies().count(), REPLIES_MAX);
    }
}
