//! How long it takes until an outage is noticed, and until its end is.

use std::time::Duration;

use super::world::World;

/// 15 s of silence, a probe, and 10 s without an answer.
#[test]
fn silence_of_postgres_is_probed_and_then_the_end() {
    let mut world = World::connected();
    let ann = world.subscriber("c");
    world.hold_backend = true;
    world.pass(Duration::from_millis(24_900));
    assert_eq!(world.texts(ann), [""; 0]);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.texts(ann), [r#"{"type":"status","postgres":"down"}"#]);
    world.hold_backend = false;
    world.reconnect_within(Duration::from_secs(2));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["gap", "status"]);
}

/// "Heard again within 2 s" leaves a fifth of a second for connecting and LISTEN.
#[test]
fn the_end_of_an_outage_is_found_within_1800_ms_however_long_it_was() {
    let mut world = World::connected();
    for round in 0..300 {
        let ann = world.subscriber("c");
        world.postgres_dies();
        world.pass(Duration::from_secs(20));
        assert_eq!(world.types(ann), ["status"], "round {round}: down");
        world.reconnect_within(Duration::from_millis(1_800));
        world.postgres_answers_all();
        assert_eq!(world.types(ann), ["gap", "status"], "round {round}");
        world.disconnect(ann);
        world.postgres_answers_all();
    }
}

/// Whatever ends each session as soon as it is there is not asked again and again without a pause.
#[test]
fn sessions_that_worked_for_a_second_are_followed_by_others_at_once() {
    let mut world = World::connected();
    let ann = world.subscriber("c");
    for _ in 0..10 {
        world.pass(Duration::from_secs(1));
        world.sessions_end();
        world.pass(Duration::ZERO);
        world.postgres_answers_all();
        assert_eq!(world.types(ann), ["status", "gap", "status"]);
    }
    world.sessions_end();
    world.pass(Duration::from_millis(99));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["status"]);
    world.pass(Duration::from_secs(2));
    world.postgres_answers_all();
    assert_eq!(world.types(ann), ["gap", "status"]);
}
