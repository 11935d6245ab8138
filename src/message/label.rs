//! The names of error codes, for metrics.

use super::ErrorCode;

impl ErrorCode {
    /// All names, as clients see them.
    pub const LABELS: [&'static str; 12] = [
        "bad_message",
        "unknown_type",
        "bad_channel",
        "payload_too_large",
        "too_many_subscriptions",
        "rate_limited",
        "unauthorized",
        "forbidden",
        "cancelled",
        "postgres_down",
        "postgres_error",
        "unknown_outcome",
    ];

    /// The name, as clients see it.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::UnknownType => "unknown_type",
            Self::BadChannel => "bad_channel",
            Self::PayloadTooLarge => "payload_too_large",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Cancelled => "cancelled",
            Self::PostgresDown => "postgres_down",
            Self::PostgresError => "postgres_error",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_clients_see() {
        for code in [
            ErrorCode::BadMessage,
            ErrorCode::UnknownType,
            ErrorCode::BadChannel,
            ErrorCode::PayloadTooLarge,
            ErrorCode::TooManySubscriptions,
            ErrorCode::RateLimited,
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::Cancelled,
            ErrorCode::PostgresDown,
            ErrorCode::PostgresError,
            ErrorCode::UnknownOutcome,
        ] {
            let seen = serde_json::to_value(code).unwrap();
            assert_eq!(seen, code.label());
            assert!(ErrorCode::LABELS.contains(&code.label()), "{code:?}");
        }
    }
}
