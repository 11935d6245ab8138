//! Clients that ask for as much as they may and read nothing, in this process.

use std::time::Instant;

use alle::internals::{
    delivery::outgoing::Written,
    hub::{Action, Endpoints, Hub, Settings, drive},
    id::ClientId,
};

/// A hub whose clients are all of that kind.
pub(crate) struct Worst {
    hub: Hub,
    clients: usize,
}

impl Worst {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant"
    )]
    pub(crate) fn new(owned_bytes_max: usize) -> Self {
        let mut settings = Settings::default();
        settings.limits.owned_bytes_max = owned_bytes_max;
        Self {
            hub: Hub::with_feed(settings, Instant::now()),
            clients: 0,
        }
    }

    /// Adds one: as many subscriptions as it may have, as many unread answers, a message without
    /// its end, and input behind that which is not yet processed.
    pub(crate) fn connect(&mut self) {
        let client = self.hub.handle_connected(Endpoints::default());
        self.input(client, UPGRADE.to_vec(), true);
        // All of them share 10,000 channels: the names are not part of a client's cost.
        let group = self.clients % 10;
        self.clients += 1;
        let texts = (0..1_000)
            .map(|number| format!(r#"{{"type":"subscribe","channel":"c{group}-{number}"}}"#));
        let subscribes: Vec<u8> = texts.flat_map(|text| frame(text.as_bytes())).collect();
        self.input(client, subscribes, true);
        let mut begun = frame(&vec![b'x'; 64 * 1024]);
        // The first fragment of a message whose end never comes (RFC 6455, 5.4).
        begun[0] = 0x01;
        self.input(client, begun, true);
        // Until the hub no longer reads it, or closes it for the common bound.
        let pings = PING.repeat(16 * 1024 / PING.len());
        for _ in 0..10 {
            if self.hub.is_current(client) && !self.hub.is_paused(client) {
                self.input(client, pings.clone(), false);
            }
        }
    }

    /// Memory held for single clients, as the hub counts it.
    pub(crate) fn owned_bytes(&self) -> usize {
        self.hub.owned_bytes()
    }

    fn input(&mut self, client: ClientId, bytes: Vec<u8>, is_read: bool) {
        for mut piece in bytes.chunks(16 * 1024).map(<[u8]>::to_vec) {
            self.hub.handle_client_input(client, &mut piece);
            self.turn(is_read);
        }
    }

    fn turn(&mut self, is_read: bool) {
        loop {
            while is_read && drive::transmit(&mut self.hub, |_, _| Written::All) {}
            drive::transmit(&mut self.hub, |_, _| Written::Full(0));
            self.hub.end_turn();
            let mut is_over = true;
            while let Some(action) = self.hub.poll_action() {
                if let Action::Resume(client) = action {
                    is_over = false;
                    self.hub.handle_client_input(client, &mut []);
                }
            }
            if is_over {
                return;
            }
        }
    }
}

/// A text frame of a client, its mask all zeros.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short @ ..=125) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(text);
    frame
}

/// A ping inside of the message that is not complete (RFC 6455, 5.4), with as much as it may carry.
const PING: &[u8] = &{
    let mut ping = [0; 131];
    ping[0] = 0x89;
    ping[1] = 0x80 | 125;
    ping
};
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
