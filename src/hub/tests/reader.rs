//! A reader of events, as a browser has one.

use serde_json::Value;

use super::world::World;
use crate::id::ClientId;

/// One event, as a browser reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
    pub(super) retry: Option<u64>,
}

impl Event {
    pub(super) fn channel(&self) -> &str {
        self.data["channel"].as_str().unwrap_or_default()
    }

    pub(super) fn payload(&self) -> &str {
        self.data["payload"].as_str().unwrap_or_default()
    }
}

/// A reader of events that knows where it is, as a browser does.
pub(super) struct Reader {
    pub(super) client: ClientId,
    pub(super) query: String,
    pub(super) last_event_id: String,
}

impl Reader {
    /// Asks for these channels.
    pub(super) fn ask(world: &mut World, channels: &[&str], last_event_id: &str) -> Self {
        let channels: Vec<_> = channels.iter().map(|it| format!("channel={it}")).collect();
        let query = channels.join("&");
        let client = request(world, &query, last_event_id);
        Self {
            client,
            query,
            last_event_id: last_event_id.to_owned(),
        }
    }

    /// The same, and PostgreSQL answers; the events of the opening.
    pub(super) fn open(world: &mut World, channels: &[&str]) -> (Self, Vec<Event>) {
        let mut reader = Self::ask(world, channels, "");
        world.postgres_answers_all();
        let head = world.take_head(reader.client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let events = reader.read(world);
        (reader, events)
    }

    pub(super) fn read(&mut self, world: &mut World) -> Vec<Event> {
        let text = world.take_text(self.client);
        self.take(&text)
    }

    pub(super) fn take(&mut self, text: &str) -> Vec<Event> {
        let events = parse(text);
        for event in &events {
            if let Some(id) = &event.id {
                self.last_event_id.clone_from(id);
            }
        }
        events
    }

    /// The connection is cut, and made again.
    pub(super) fn reconnect(&mut self, world: &mut World) -> Vec<Event> {
        world.disconnect(self.client);
        self.client = request(world, &self.query, &self.last_event_id);
        world.postgres_answers_all();
        world.take_head(self.client);
        self.read(world)
    }
}

pub(super) fn request(world: &mut World, query: &str, last_event_id: &str) -> ClientId {
    let client = world.connect();
    let field = if last_event_id.is_empty() {
        String::new()
    } else {
        format!("Last-Event-ID: {last_event_id}\r\n")
    };
    let head = format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
    world.input(client, head.as_bytes());
    client
}

pub(super) fn parse(text: &str) -> Vec<Event> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "{text:?}");
    let blocks = text.split("\n\n").filter(|it| !it.is_empty() && *it != ":");
    let event = |block: &str| {
        let mut event = Event::default();
        for line in block.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "event" => event.name = value.to_owned(),
                "id" => event.id = Some(value.to_owned()),
                "data" => event.data = serde_json::from_str(value).unwrap(),
                "retry" => event.retry = value.parse().ok(),
                _ => panic!("{line}"),
            }
        }
        event
    };
    blocks.map(event).collect()
}

pub(super) fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|it| &*it.name).collect()
}

pub(super) fn payloads(events: &[Event]) -> Vec<&str> {
    let notifications = events.iter().filter(|it| it.data["type"] == "notification");
    notifications.map(Event::payload).collect()
}

impl Reader {
    /// The connection is made again after it was cut.
    pub(super) fn reconnect_only(&mut self, world: &mut World) -> Vec<Event> {
        self.client = request(world, &self.query, &self.last_event_id);
        world.postgres_answers_all();
        world.take_head(self.client);
        self.read(world)
    }
}
