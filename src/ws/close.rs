//! Why a connection is closed: the one table from a reason to its code, text and metric label.
//!
//! Owns the close frame that we send and the codes that a peer may send. Refuses to know the moment
//! of a close and the state of the connection afterwards.

/// The reason for closing a connection. The close frame and the metric follow from it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed, and this is the reply; or the connection has served its purpose.
    Normal,
    /// We are shutting down or draining.
    GoingAway,
    /// The peer broke RFC 6455.
    Protocol(ProtocolViolation),
    /// A text message, or the reason of a close frame, is not UTF-8.
    InvalidPayload,
    /// More messages than a peer may send, in a protocol without an error message.
    TooManyMessages,
    /// A message over the limit; detected at its header, before its payload is read.
    MessageTooBig,
    /// The peer reads too slowly for the traffic it asked for.
    SlowConsumer,
    /// The peer takes too long for a message.
    MessageTimeout,
    /// No memory is left for the data that the peer makes us keep.
    Overloaded,
    /// The peer did not answer a ping in time.
    PingTimeout,
    /// The peer did not present a token in time.
    TokenMissing,
    /// The peer presented too many tokens that are nobody's.
    TokenWrong,
    /// The token that came with the peer's handshake lets nobody in.
    TokenRefused,
    /// The token that let the peer in is not valid any more.
    TokenGone,
    /// The token that let the peer in has come to its end.
    TokenExpired,
    /// A channel that the peer is subscribed to is no longer permitted to it.
    ChannelForbidden,
    /// Too many wrong tokens came from the peer's address: its own was not looked at.
    TooManyTokens,
    /// Nobody could say in time whose the peer's token is.
    TokenUnjudged,
    /// The function that says whose a token is failed.
    TokenJudgeFailed,
    /// Another client needed the place of a peer without a token.
    NoPlace,
}

/// Which rule of RFC 6455 a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolViolation {
    /// A reserved bit is set though no extension was agreed on (5.2).
    ReservedBit,
    /// An undefined opcode (5.2).
    UnknownOpcode,
    /// A client's frame is not masked (5.1).
    Unmasked,
    /// A control frame is fragmented (5.5).
    ControlFragmented,
    /// A control frame with more than 125 bytes of payload (5.5).
    ControlTooLong,
    /// A continuation frame, and no message to continue (5.4).
    ContinuationUnexpected,
    /// A new message inside a fragmented one (5.4).
    ContinuationExpected,
    /// The top bit of a 64-bit length is set (5.2).
    LengthTopBit,
    /// A close frame with half a close code (5.5.1).
    CloseTruncated,
    /// A close code that may not be sent (7.4).
    CloseCodeInvalid,
}

impl CloseReason {
    /// The code of the close frame (RFC 6455, 7.4).
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// The text of the close frame.
    pub fn text(self) -> &'static str {
        self.row().1
    }

    /// The value of the metric's label `reason`.
    pub fn label(self) -> &'static str {
        self.row().2
    }

    /// Whether the peer is to get another token.
    pub(crate) fn is_about_token(self) -> bool {
        matches!(
            self,
            Self::TokenMissing
                | Self::TokenWrong
                | Self::TokenRefused
                | Self::TokenGone
                | Self::TokenExpired
        )
    }

    /// The table. 4001, 4003 and 4008 are ours (4000 to 4999 are private); 1011 for a silent peer
    /// because 1001 would say that *we* go away. The code says what the peer can do: 4001 to get
    /// another token, 4003 to do without the channel, 1013 to come again with what it has.
    fn row(self) -> (u16, &'static str, &'static str) {
        use ProtocolViolation as Violation;
        match self {
            Self::Normal => (1000, "", "normal"),
            Self::GoingAway => (1001, "server is going away", "going_away"),
            Self::Protocol(violation) => {
                let text = match violation {
                    Violation::ReservedBit => "reserved bit set",
                    Violation::UnknownOpcode => "unknown opcode",
                    Violation::Unmasked => "frame not masked",
                    Violation::ControlFragmented => "fragmented control frame",
                    Violation::ControlTooLong => "control frame over 125 bytes",
                    Violation::ContinuationUnexpected => "no message to continue",
                    Violation::ContinuationExpected => "message inside a fragmented message",
                    Violation::LengthTopBit => "top bit of the length set",
                    Violation::CloseTruncated => "truncated close code",
                    Violation::CloseCodeInvalid => "invalid close code",
                };
                (1002, text, "protocol_violation")
            }
            Self::InvalidPayload => (1007, "not UTF-8", "invalid_payload"),
            Self::TooManyMessages => (1008, "too many messages", "too_many_messages"),
            Self::MessageTimeout => (1008, "message took too long", "message_timeout"),
            Self::Overloaded => (1013, "no memory left, try again later", "overloaded"),
            Self::MessageTooBig => (1009, "message too big", "message_too_big"),
            Self::PingTimeout => (1011, "ping timeout", "ping_timeout"),
            Self::NoPlace => (1013, "no place left, try again later", "no_place"),
            Self::TooManyTokens => (
                1013,
                "too many wrong tokens, try again later",
                "too_many_tokens",
            ),
            Self::TokenUnjudged => (
                1013,
                "token not judged in time, try again later",
                "token_unjudged",
            ),
            Self::TokenJudgeFailed => (1011, "token could not be judged", "token_judge_failed"),
            Self::TokenMissing => (4001, "no token in time", "token_missing"),
            Self::TokenWrong => (4001, "too many wrong tokens", "token_wrong"),
            Self::TokenRefused => (4001, "token refused", "token_refused"),
            Self::TokenGone => (4001, "token no longer valid", "token_gone"),
            Self::TokenExpired => (4001, "token expired", "token_expired"),
            Self::ChannelForbidden => (4003, "channel no longer permitted", "channel_forbidden"),
            Self::SlowConsumer => (4008, "slow consumer", "slow_consumer"),
        }
    }
}

/// All labels of ended connections, [`LOST_LABEL`] included.
pub const LABELS: [&str; 21] = [
    "normal",
    "going_away",
    "protocol_violation",
    "invalid_payload",
    "too_many_messages",
    "message_timeout",
    "overloaded",
    "message_too_big",
    "ping_timeout",
    "no_place",
    "too_many_tokens",
    "token_unjudged",
    "token_judge_failed",
    "token_missing",
    "token_wrong",
    "token_refused",
    "token_gone",
    "token_expired",
    "channel_forbidden",
    "slow_consumer",
    LOST_LABEL,
];
/// The label of a connection whose socket ended without a close frame: no code is ever sent for it.
pub const LOST_LABEL: &str = "lost";

/// Appends a close frame, the text cut at a character so that the frame stays a control frame.
pub fn close_frame(code: u16, text: &str, out: &mut Vec<u8>) {
    debug_assert!(
        is_valid_close_code(code),
        "{code} must not be sent (RFC 6455, 7.4)"
    );
    let mut text_bytes = text.len().min(CLOSE_TEXT_BYTES_MAX);
    while !text.is_char_boundary(text_bytes) {
        text_bytes -= 1;
    }
    let payload_bytes = u8::try_from(2 + text_bytes).expect("at most 125 bytes, cut above");
    out.extend_from_slice(&[0x88, payload_bytes]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..text_bytes]);
}

/// Whether a close frame may carry `code`: defined by RFC 6455, 7.4.1, registered since (1012 to
/// 1014), or in the ranges 3000 to 4999 (7.4.2).
pub fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A control frame's 125 bytes less the code.
const CLOSE_TEXT_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    const VIOLATIONS: [ProtocolViolation; 10] = [
        ProtocolViolation::ReservedBit,
        ProtocolViolation::UnknownOpcode,
        ProtocolViolation::Unmasked,
        ProtocolViolation::ControlFragmented,
        ProtocolViolation::ControlTooLong,
        ProtocolViolation::ContinuationUnexpected,
        ProtocolViolation::ContinuationExpected,
        ProtocolViolation::LengthTopBit,
        ProtocolViolation::CloseTruncated,
        ProtocolViolation::CloseCodeInvalid,
    ];

    fn all() -> Vec<CloseReason> {
        let mut all = vec![
            CloseReason::Normal,
            CloseReason::GoingAway,
            CloseReason::InvalidPayload,
            CloseReason::TooManyMessages,
            CloseReason::MessageTooBig,
            CloseReason::MessageTimeout,
            CloseReason::SlowConsumer,
            CloseReason::Overloaded,
            CloseReason::PingTimeout,
            CloseReason::TokenMissing,
            CloseReason::TokenWrong,
            CloseReason::TokenRefused,
            CloseReason::TokenGone,
            CloseReason::TokenExpired,
            CloseReason::ChannelForbidden,
            CloseReason::NoPlace,
            CloseReason::TooManyTokens,
            CloseReason::TokenUnjudged,
            CloseReason::TokenJudgeFailed,
        ];
        all.extend(VIOLATIONS.map(CloseReason::Protocol));
        all
    }

    #[test]
    fn every_reason_can_be_sent_and_counted() {
        let mut texts = HashSet::new();
        for reason in all() {
            assert!(is_valid_close_code(reason.code()), "{reason:?}");
            assert!(
                texts.insert(reason.text()),
                "{reason:?} says what another says"
            );
            assert!(reason.text().len() <= CLOSE_TEXT_BYTES_MAX);
            assert!(
                LABELS.contains(&reason.label()),
                "{reason:?} is not counted"
            );
            assert!(
                reason
                    .label()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
    }

    #[test]
    fn the_contract_s_codes() {
        assert_eq!(CloseReason::GoingAway.code(), 1001);
        assert_eq!(
            CloseReason::Protocol(ProtocolViolation::Unmasked).code(),
            1002
        );
        assert_eq!(CloseReason::InvalidPayload.code(), 1007);
        assert_eq!(CloseReason::MessageTooBig.code(), 1009);
        for reason in [
            CloseReason::TokenMissing,
            CloseReason::TokenWrong,
            CloseReason::TokenRefused,
            CloseReason::TokenGone,
            CloseReason::TokenExpired,
        ] {
            assert_eq!(reason.code(), 4001, "{reason:?}");
        }
        assert_eq!(CloseReason::ChannelForbidden.code(), 4003);
        assert_eq!(CloseReason::NoPlace.code(), 1013);
        assert_eq!(CloseReason::SlowConsumer.code(), 4008);
        assert_eq!(CloseReason::SlowConsumer.text(), "slow consumer");
    }

    /// 1014 was registered after RFC 6455 and is unknown to tungstenite.
    #[test]
    fn valid_close_codes_are_tungstenite_s_and_1014() {
        for code in 0..=u16::MAX {
            let expected = code == 1014 || CloseCode::from(code).is_allowed();
            // Its catch-all for codes above 4999 and for 0 is "bad", as ours.
            assert_eq!(is_valid_close_code(code), expected, "{code}");
        }
    }

    #[test]
    fn a_close_frame_is_an_unmasked_control_frame() {
        let mut out = b"before".to_vec();
        close_frame(4008, "slow consumer", &mut out);
        assert_eq!(out, b"before\x88\x0f\x0f\xa8slow consumer");
    }

    #[test]
    fn a_close_frame_s_text_is_cut_at_a_character() {
        for (text, kept_bytes) in [
            ("x".repeat(122), 122),
            ("x".repeat(123), 123),
            ("x".repeat(124), 123),
            ("é".repeat(62), 122),
            ("🐘".repeat(40), 120),
        ] {
            let mut out = Vec::new();
            close_frame(1000, &text, &mut out);
            assert_eq!(usize::from(out[1]), 2 + kept_bytes);
            assert_eq!(out.len(), 4 + kept_bytes);
            assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), &text[..kept_bytes]);
        }
    }
}
