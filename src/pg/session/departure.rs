//! The end of a session from outside, while its connection stands and the server does not answer.
//!
//! Owns the bytes that ask for it. Knows no connection, and not when they are sent.

use std::fmt;

use bytes::BytesMut;

use super::Session;
use crate::pg::command;

/// The bytes that ask a server to end a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Departure {
    /// CancelRequest, for a connection of its own.
    pub cancel_request: BytesMut,
    /// Terminate, for the connection of the session; empty where a request is half written.
    pub farewell: BytesMut,
}

impl Session {
    /// The bytes that end the session from outside; `None` if the server gave no key.
    pub fn departure(&self) -> Option<Departure> {
        let mut cancel_request = BytesMut::new();
        let (process_id, key) = (self.server.backend_pid?, self.server.secret_key?);
        command::cancel_request(process_id, key, &mut cancel_request);
        let mut farewell = BytesMut::new();
        // Behind half a request it would be part of that.
        if self.outbox.waiting().is_empty() {
            command::terminate(&mut farewell);
        }
        Some(Departure {
            cancel_request,
            farewell,
        })
    }
}

impl fmt::Debug for Departure {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Departure")
    }
}

#[cfg(test)]
mod tests {
    use crate::pg::{config::Config, session::Session};

    /// A session that is let in, with this much in the message that names its process.
    fn let_in(key: &[u8]) -> Session {
        let config = Config::parse("postgres://ann@db", &|_| None).unwrap();
        let mut session = Session::new(&config, "alle");
        let length = u32::try_from(4 + key.len()).unwrap().to_be_bytes();
        session.handle_input(b"R\0\0\0\x08\0\0\0\0");
        session.handle_input(&[b"K", &length[..], key].concat());
        assert!(session.poll_event().is_none());
        session
    }

    #[test]
    fn the_key_of_the_server_is_needed() {
        assert!(let_in(b"\0\0\0\x07").departure().is_none());
        let departure = let_in(b"\0\0\0\x07\0\0\0\x09").departure().unwrap();
        let expected = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09";
        assert_eq!(&departure.cancel_request[..], expected);
        assert_eq!(
            format!("{departure:?}"),
            "Departure",
            "no log shows the key"
        );
    }

    #[test]
    fn no_farewell_follows_half_a_request() {
        let mut session = let_in(b"\0\0\0\x07\0\0\0\x09");
        let bytes = session.poll_transmit().unwrap().len();
        session.handle_transmitted(bytes - 1);
        assert!(session.departure().unwrap().farewell.is_empty());
        session.handle_transmitted(1);
        assert_eq!(&session.departure().unwrap().farewell[..], b"X\0\0\0\x04");
    }
}
