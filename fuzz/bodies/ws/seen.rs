//! The inputs as the decoder's tables and its fuzzer keep them.

#![allow(
    unreachable_pub,
    reason = "a module of a test, where nothing is reachable"
)]

use super::Input;

/// An owned copy of an [`Input`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
}

impl From<Input<'_>> for Seen {
    fn from(input: Input<'_>) -> Self {
        match input {
            Input::Text(text) => Self::Text(text.to_owned()),
            Input::Binary(payload) => Self::Binary(payload.to_owned()),
            Input::Ping(payload) => Self::Ping(payload.to_owned()),
            Input::Pong => Self::Pong,
            Input::Close(close) => Self::Close(close.map(|(code, text)| (code, text.to_owned()))),
        }
    }
}
