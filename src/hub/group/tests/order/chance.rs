//! What happens next, at random.

use std::time::Duration;

use super::Order;
use crate::random::Random;

impl Order {
    /// Something, at random.
    pub(in super::super) fn happen(&mut self, random: &mut Random) {
        let mut below = |max: u64| usize::try_from(random.bits() % max).unwrap();
        let bridge = below(self.bridges.len() as u64);
        let name = ["a", "b", "c"][below(3)];
        match below(100) {
            0..20 => self.notify(name),
            20..45 => drop(self.say(bridge)),
            45..85 => drop(self.read(bridge)),
            85..87 if self.bridges[bridge].is_up => self.listen(bridge, name, true),
            87 if self.bridges[bridge].is_listening => self.lose_listening(bridge),
            97 if self.bridges[bridge].is_up && !self.bridges[bridge].is_listening => {
                self.listen_again(bridge);
            }
            98 => self.confirm(bridge, name),
            88 => self.set_own(bridge, name, below(2) == 0),
            89 if self.bridges[bridge].is_up => self.go_down(bridge),
            90 => self.kill(bridge),
            91 if self.bridges[bridge].is_up && below(2) == 0 => self.refuse(bridge),
            91 if self.bridges[bridge].is_up => self.replace_publishing(bridge),
            92..96 if !self.bridges[bridge].is_up => self.come_up(bridge),
            96 => self.pass(Duration::from_secs(below(20) as u64)),
            _ => self.pass(Duration::from_millis(below(300) as u64)),
        }
        self.check();
    }

    /// Something, at random, among bridges that lose nothing but their listening sessions.
    pub(in super::super) fn happen_calmly(&mut self, random: &mut Random) {
        let mut below = |max: u64| usize::try_from(random.bits() % max).unwrap();
        let bridge = below(self.bridges.len() as u64);
        let name = ["a", "b", "c"][below(3)];
        let is_listening = self.bridges[bridge].is_listening;
        match below(400) {
            0..60 => self.notify(name),
            60..200 => drop(self.say(bridge)),
            200..360 => drop(self.read(bridge)),
            360 => self.lose_listening(bridge),
            361..380 if !is_listening => self.listen_again(bridge),
            380..398 => self.confirm(bridge, name),
            _ => self.pass(Duration::from_millis(below(10) as u64)),
        }
        self.check();
    }
}
