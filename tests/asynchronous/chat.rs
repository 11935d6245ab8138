//! The example of a room, as a program.

use tungstenite::{Message, WebSocket};

use super::{client, patient::Patient, started};

#[track_caller]
fn hear(client: &mut WebSocket<Patient>) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

#[test]
fn the_example_of_a_room_tells_each_client_what_the_others_say() {
    let (_program, address) = started("chat");
    let mut ann = client(address);
    assert_eq!(hear(&mut ann), "1 are here");
    let mut bob = client(address);
    assert_eq!(hear(&mut bob), "2 are here");
    for (text, is_ann) in [("hello", true), ("hello yourself", false), ("bye", true)] {
        let (speaker, listener) = match is_ann {
            true => (&mut ann, &mut bob),
            false => (&mut bob, &mut ann),
        };
        speaker.send(Message::text(text)).unwrap();
        assert_eq!(hear(listener), text);
    }
    drop(bob);
    // Nobody hears it but the program, which goes on.
    ann.send(Message::text("still there?")).unwrap();
    let mut cid = client(address);
    assert!(hear(&mut cid).ends_with(" are here"));
    ann.send(Message::text("welcome")).unwrap();
    let mut heard = hear(&mut cid);
    if heard == "still there?" {
        heard = hear(&mut cid);
    }
    assert_eq!(heard, "welcome");
}
