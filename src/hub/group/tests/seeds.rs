//! What happens to bridges in an order that a seed decides.

use super::*;

#[expect(
    clippy::disallowed_methods,
    reason = "the number of seeds is that of the other simulation"
)]
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let first: u64 = number("ALLE_SIM_FIRST").unwrap_or(0);
    first..first + number("ALLE_SIM_SEEDS").unwrap_or(256)
}

#[test]
fn offsets_are_those_of_the_one_order_whatever_the_timing() {
    let mut offsets = 0;
    for seed in seeds() {
        let mut random = Random::new(seed);
        let mut order = Order::new(2 + (seed % 2) as usize, None);
        for _ in 0..400 {
            order.happen(&mut random);
        }
        order.settle();
        order.settle();
        order.check_complete();
        offsets += order.offset_count();
    }
    assert!(offsets > 100, "the bridges of most seeds meet: {offsets}");
}

/// Each notification that any epoch goes on with is the next one of its channel.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "a run of many seeds is there to be read"
)]
fn what_a_lost_listening_session_missed_is_filled_in_whatever_the_timing() {
    let (mut counts, mut gaps) = (Counts::default(), 0);
    for seed in seeds() {
        let mut random = Random::new(seed);
        let mut order = Order::new(2 + (seed % 2) as usize, None);
        for bridge in 0..order.bridges.len() {
            order.come_up(bridge);
        }
        for name in ["a", "b", "c"] {
            order.listen(0, name, true);
        }
        order.settle();
        for _ in 0..600 {
            order.happen_calmly(&mut random);
        }
        order.settle();
        order.settle();
        order.check_complete();
        for bridge in &order.bridges {
            counts.resumed += bridge.group.counts.resumed;
            counts.filled += bridge.group.counts.filled;
            gaps += bridge.gaps;
        }
    }
    let Counts {
        resumed, filled, ..
    } = counts;
    println!("{resumed} channels went on, {filled} notifications were filled in, {gaps} gaps");
    assert!(resumed > 100 && filled > 100 && gaps > 0);
}
