//! What the hub tells its program, held against itself: a client comes before it is told of, ends once,
//! and begins a channel again only after it has left that.

use std::collections::{BTreeMap, BTreeSet};

use alle::{ClientId, LifecycleEvent};

/// The clients that are there, each with its channels, as far as was told.
#[derive(Default)]
pub(crate) struct Told {
    clients: BTreeMap<ClientId, BTreeSet<String>>,
    is_up: bool,
    is_ready: bool,
}

impl Told {
    pub(crate) fn handle(&mut self, event: LifecycleEvent) {
        let is_next = match &event {
            LifecycleEvent::Connected { client, .. } => {
                self.clients.insert(*client, BTreeSet::new()).is_none()
            }
            LifecycleEvent::Subscribed { client, channel } => {
                let channels = self.clients.get_mut(client);
                channels.is_some_and(|it| it.insert(channel.to_string()))
            }
            LifecycleEvent::Unsubscribed { client, channel } => {
                let channels = self.clients.get_mut(client);
                channels.is_some_and(|it| it.remove(channel.as_str()))
            }
            LifecycleEvent::Closed { client, .. } => self.clients.remove(client).is_some(),
            LifecycleEvent::Up => !std::mem::replace(&mut self.is_up, true),
            LifecycleEvent::Down => std::mem::replace(&mut self.is_up, false),
            LifecycleEvent::Ready => !std::mem::replace(&mut self.is_ready, true) && self.is_up,
            LifecycleEvent::NotReady { .. } => std::mem::replace(&mut self.is_ready, false),
            // Nobody says who it is here, and nothing is left out on this way.
            LifecycleEvent::Identified { .. } | LifecycleEvent::Omitted(_) | _ => false,
        };
        assert!(is_next, "told out of order: {event:?}");
    }

    /// How many clients are there.
    pub(crate) fn client_count(&self) -> usize {
        self.clients.len()
    }
}
