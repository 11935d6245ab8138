//! A room in which each client hears what the others say: `cargo run --example chat [ADDRESS]`.
//! The protocol is the program's own. A client that does not read misses something, and is told.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "to be looked at")]

use std::{collections::HashMap, error::Error, sync::mpsc, thread};

use alle::{ClientId, LifecycleEvent, RawMessage, SendError, WebSocketServer};

/// What happens in the room.
enum Happening {
    Lifecycle(LifecycleEvent),
    Said(ClientId, RawMessage),
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");

    let (happens, room) = mpsc::sync_channel(1_000);
    let (server, _) = WebSocketServer::new(address);
    let (server, events) = server.with_lifecycle(1_000);
    let said = happens.clone();
    // Runs on the thread that serves all clients: it waits for nobody.
    let server = server.spawn_messages(move |client, message| {
        let is_heard = said.try_send(Happening::Said(client, message)).is_ok();
        (!is_heard).then(|| RawMessage::Text("the room is too loud, say it again".to_owned()))
    })?;
    println!("listening on {}", server.ws_url());
    thread::Builder::new().spawn(move || {
        for event in events {
            if happens.send(Happening::Lifecycle(event)).is_err() {
                return;
            }
        }
    })?;

    let handle = server.handle();
    // Who is there, and how many messages it has missed.
    let mut missed = HashMap::new();
    for happening in room {
        match happening {
            Happening::Lifecycle(LifecycleEvent::Connected { client, .. }) => {
                missed.insert(client, 0);
                let welcome = RawMessage::Text(format!("{} are here", missed.len()));
                // Whether it is gone already, its end will tell.
                let _sent = handle.send_to(client, welcome).wait();
            }
            Happening::Lifecycle(LifecycleEvent::Closed { client, .. }) => {
                missed.remove(&client);
            }
            Happening::Lifecycle(LifecycleEvent::Omitted(count)) => {
                eprintln!("{count} clients came or went unseen");
            }
            Happening::Lifecycle(_) => {}
            Happening::Said(speaker, message) => {
                let others = missed.iter_mut().filter(|(client, _)| **client != speaker);
                for (&client, missed) in others {
                    if *missed > 0 {
                        let told = RawMessage::Text(format!("you have missed {missed} messages"));
                        if handle.send_to(client, told).wait().is_ok() {
                            *missed = 0;
                        }
                    }
                    let sent = handle.send_to(client, message.clone()).wait();
                    if let Err(SendError::Full { .. } | SendError::Crowded) = sent {
                        *missed += 1;
                    }
                }
            }
        }
    }
    Ok(())
}
