//! Requests over HTTP, and the responses to them.

use super::world::World;
use crate::id::ClientId;

/// A whole request.
pub(super) fn post(channel: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /publish/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         {fields}\r\n{body}"
    )
}

/// The responses that have arrived: status, head and body of each.
pub(super) fn responses(world: &mut World, client: ClientId) -> Vec<(u16, String, String)> {
    let text = world.take_text(client);
    let mut rest = &*text;
    let mut responses = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_once("\r\n\r\n").expect("a whole head");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let (body, behind) = behind.split_at(length);
        let status = head[9..12].parse().unwrap();
        responses.push((status, head.to_owned(), body.to_owned()));
        rest = behind;
    }
    responses
}

pub(super) fn statuses(world: &mut World, client: ClientId) -> Vec<u16> {
    let responses = responses(world, client);
    responses.into_iter().map(|(status, ..)| status).collect()
}
