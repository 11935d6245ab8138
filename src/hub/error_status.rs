//! The status that says in HTTP what a message says in JSON.

use crate::{
    http::response::Status,
    message::{ErrorCode, ServerMessage},
};

/// The status of a response with this message.
pub(super) fn status_of(message: &ServerMessage<'_>) -> Status {
    let ServerMessage::Error { code, sqlstate, .. } = message else {
        return Status::Ok;
    };
    match code {
        ErrorCode::PostgresError if *sqlstate == Some(QUEUE_FULL) => Status::ServiceUnavailable,
        ErrorCode::PostgresError => Status::BadGateway,
        ErrorCode::PostgresDown => Status::ServiceUnavailable,
        ErrorCode::UnknownOutcome => Status::GatewayTimeout,
        ErrorCode::RateLimited => Status::TooManyRequests,
        ErrorCode::PayloadTooLarge => Status::PayloadTooLarge,
        ErrorCode::Unauthorized => Status::Unauthorized,
        ErrorCode::Forbidden => Status::Forbidden,
        ErrorCode::BadMessage
        | ErrorCode::BadChannel
        | ErrorCode::UnknownType
        | ErrorCode::TooManySubscriptions
        | ErrorCode::TooManyChannels
        | ErrorCode::Cancelled => Status::BadRequest,
    }
}

/// `program_limit_exceeded`: the queue of notifications is full until somebody reads it.
const QUEUE_FULL: &str = "54000";
