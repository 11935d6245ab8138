//! Why a token lets nobody in, and how that is said: in HTTP, in JSON, by a close code.

use crate::{
    access::{Denial, cookie::CookieFault, jwt::JwtFault},
    http::response::Status,
    message::ErrorCode,
    ws::close::CloseReason,
};

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenRefusal {
    /// There is none.
    Missing,
    /// It is nobody's.
    Wrong,
    /// It is no good JWT.
    Jwt(JwtFault),
    /// The function says that its time is over.
    Expired,
    /// It came in a cookie, and cannot be told.
    Cookie(CookieFault),
    /// The function has not said whose it is: the client waits, and is told nothing of this.
    Undecided,
    /// Nobody can say now whose it is.
    Unavailable,
    /// The function that says whose it is failed.
    Failed,
    /// It was not looked at: too many wrong ones came from its address.
    TooMany,
}

impl TokenRefusal {
    /// For whom it came with a request.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Missing | Self::Wrong | Self::Jwt(_) | Self::Expired | Self::Cookie(_) => {
                Status::Unauthorized
            }
            Self::Undecided | Self::Unavailable | Self::Failed => Status::ServiceUnavailable,
            Self::TooMany => Status::TooManyRequests,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Missing => "a token is required here",
            Self::Wrong => "the token is wrong",
            Self::Jwt(fault) => fault.text(),
            Self::Expired => "the token has expired",
            Self::Cookie(fault) => fault.text(),
            Self::Undecided | Self::Unavailable => {
                "the database does not say in time whose the token is, try again later"
            }
            Self::Failed => "the database failed to say whose the token is",
            Self::TooMany => "too many wrong tokens from this address",
        }
    }

    /// What a client is told.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Missing | Self::Wrong | Self::Jwt(_) | Self::Expired | Self::Cookie(_) => {
                ErrorCode::Unauthorized
            }
            Self::Undecided | Self::Unavailable | Self::Failed => ErrorCode::PostgresDown,
            Self::TooMany => ErrorCode::RateLimited,
        }
    }

    /// The field of the response that says which token would do (RFC 6750, 3).
    pub(super) fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "WWW-Authenticate: Bearer\r\n",
            Self::Wrong | Self::Jwt(_) | Self::Expired | Self::Cookie(_) => {
                "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"
            }
            // The status says when to come again.
            Self::Undecided | Self::Unavailable | Self::Failed | Self::TooMany => "",
        }
    }

    /// How a WebSocket is closed whose token came with its handshake, which a page cannot see refused.
    pub(super) fn close_reason(self) -> CloseReason {
        match self {
            Self::Missing => CloseReason::TokenMissing,
            Self::Jwt(JwtFault::Expired) | Self::Expired => CloseReason::TokenExpired,
            Self::Wrong | Self::Jwt(_) | Self::Cookie(_) => CloseReason::TokenRefused,
            Self::Undecided | Self::Unavailable => CloseReason::TokenUnjudged,
            Self::Failed => CloseReason::TokenJudgeFailed,
            Self::TooMany => CloseReason::TooManyTokens,
        }
    }

    /// Whether nobody has looked whether it is right.
    pub(super) fn is_unjudged(self) -> bool {
        match self {
            Self::Undecided | Self::Unavailable | Self::Failed | Self::TooMany => true,
            Self::Missing | Self::Wrong | Self::Jwt(_) | Self::Expired | Self::Cookie(_) => false,
        }
    }

    /// Whether it was right, and is over.
    pub(super) fn is_about_time(self) -> bool {
        matches!(self, Self::Jwt(JwtFault::Expired) | Self::Expired)
    }

    /// Whether the bearer may have guessed it: nobody guesses what a key of ours vouches for.
    pub(super) fn may_be_guessed(self) -> bool {
        match self {
            Self::Wrong => true,
            Self::Jwt(fault) => !fault.is_signed(),
            Self::Missing
            | Self::Expired
            | Self::Cookie(_)
            | Self::Undecided
            | Self::Unavailable
            | Self::Failed
            | Self::TooMany => false,
        }
    }
}

impl From<Denial> for TokenRefusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unknown => Self::Wrong,
            Denial::Jwt(fault) => Self::Jwt(fault),
        }
    }
}
