//! Which channels a request over HTTP names, and from where its reader goes on.
//!
//! Knows neither who asks nor whether that is allowed.

use super::answer::Answer;
use crate::{
    channel::{Channel, LengthUnit},
    http::{percent, request::Request},
    message::ErrorCode,
};

/// The channel that a segment of a path names.
pub(super) fn channel_of(segment: &str, unit: LengthUnit) -> Result<Channel, Answer> {
    parse_channel(percent::decode(segment), unit)
}

/// The channels that a query asks for, at least one and at most `max`, each once.
pub(super) fn channels_of(
    query: &str,
    unit: LengthUnit,
    max: usize,
) -> Result<Vec<Channel>, Answer> {
    let mut channels: Vec<Channel> = Vec::new();
    for (name, value) in percent::pairs(query) {
        if name == "channel" {
            let channel = parse_channel(percent::decode_form(value), unit)?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
    }
    if channels.is_empty() {
        let text = "no channel: ask for /sse?channel=NAME, or for several with &channel=NAME";
        return Err(Answer::error(ErrorCode::BadMessage, text, None));
    }
    if channels.len() > max {
        let text = format!("a client may have {max} subscriptions");
        return Err(Answer::error(ErrorCode::TooManySubscriptions, &text, None));
    }
    Ok(channels)
}

/// The position as the reader of events has it. The field wins: a browser sends there where it has
/// come to, and the parameter as the page wrote it.
pub(super) fn last_event_id(request: &Request<'_>) -> Option<String> {
    let in_field = request.fields.values("Last-Event-ID").next();
    let in_field = in_field.map(|id| String::from_utf8_lossy(id).into_owned());
    let in_query = || {
        let mut pairs = percent::pairs(request.query);
        let (_, id) = pairs.find(|(name, _)| *name == "last_event_id")?;
        Some(percent::decode_form(id).unwrap_or_else(|| id.to_owned()))
    };
    in_field
        .filter(|id| !id.is_empty())
        .or_else(in_query)
        .filter(|id| !id.is_empty())
}

/// The channel of this name, which was decoded; `None` if it could not be.
fn parse_channel(name: Option<String>, unit: LengthUnit) -> Result<Channel, Answer> {
    let refuse = |text: &str| Answer::error(ErrorCode::BadChannel, text, None);
    let name = name.ok_or_else(|| refuse("the channel's name is not percent-encoded UTF-8"))?;
    Channel::measured(&name, unit).map_err(|error| refuse(&error.to_string()))
}
