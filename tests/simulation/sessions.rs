//! Between the hub and PostgreSQL: the bytes that move, their pieces, and lost connections.

use alle::internals::backend::Role;

use super::{Link, World};
use crate::backend::Mood;

impl World {
    /// A transaction of some other session; it may be rolled back.
    pub(super) fn other_commit(&mut self) {
        let mut transaction = Vec::new();
        for _ in 0..=self.random.below(5) {
            let channel = self.random.pick(&self.channels);
            if self.random.percent(80) {
                self.other_payloads += 1;
            }
            let fill = "o".repeat(self.random.below(3) * self.random.below(800));
            transaction.push((
                channel.to_owned(),
                format!("o{}-{fill}", self.other_payloads),
            ));
        }
        if self.random.percent(90) {
            let count = self.database.commit(transaction);
            self.note(|world| {
                let log = &world.database.log;
                let names = log[log.len() - count..].iter();
                let names = names.map(|(name, it)| format!("{name}:{}", it.trim_end_matches('o')));
                format!("others commit {:?}", names.collect::<Vec<_>>())
            });
            self.look_at_commits();
        }
    }

    pub(super) fn look_at_commits(&mut self) {
        while let Some((_, payload)) = self.database.log.get(self.seen_commits) {
            self.truth.note_commit(payload);
            self.seen_commits += 1;
        }
    }

    pub(super) fn hand_over(&mut self, role: Role, bytes: usize) -> bool {
        self.look_at_write(role);
        let Link::Connected { process, .. } = &mut self.links[role.index()] else {
            return false;
        };
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        let Some(offered) = backend.poll_transmit(role) else {
            return false;
        };
        let bytes = bytes.min(offered.len());
        if bytes == 0 {
            return false;
        }
        process.receive(&offered[..bytes]);
        backend.handle_transmitted(role, bytes);
        self.offered[role.index()] -= bytes;
        self.note(|_| format!("{bytes} bytes to the {role} session"));
        self.after();
        true
    }

    pub(super) fn work(&mut self, role: Role, mood: Mood) -> bool {
        let Link::Connected { process, .. } = &mut self.links[role.index()] else {
            return false;
        };
        let worked = process.step(&mut self.database, mood, &mut self.random);
        self.look_at_commits();
        worked
    }

    /// The answers of PostgreSQL arrive, unless the hub does not want to read now.
    pub(super) fn feed(&mut self, role: Role, all: bool) -> bool {
        let Link::Connected {
            process,
            is_black_hole: false,
        } = &mut self.links[role.index()]
        else {
            return false;
        };
        if self.hub.is_backend_paused() {
            return false;
        }
        if process.outbox.is_empty() {
            if process.ended {
                self.lose(role, "was closed by the server");
                return true;
            }
            return false;
        }
        let mut part = process.outbox.len();
        if !all {
            part = self.random.part(part);
        }
        let bytes: Vec<u8> = process.outbox.drain(..part).collect();
        self.truth.step += 1;
        self.note(|world| {
            format!(
                "step {}: the {role} session says {}",
                world.truth.step,
                bytes
                    .escape_ascii()
                    .to_string()
                    .chars()
                    .take(300)
                    .collect::<String>()
            )
        });
        self.taps[role.index()].read(&bytes, &mut self.truth);
        let now = self.at();
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        backend.handle_input(role, &bytes, now);
        self.hub.handle_backend();
        self.after();
        true
    }

    pub(super) fn carry_out_order(&mut self, role: Role) {
        if !matches!(self.links[role.index()], Link::Ordered) {
            return;
        }
        if self.refuses {
            self.lose(role, "was refused");
            return;
        }
        self.truth.step += 1;
        self.note(|_| format!("the {role} session is connected"));
        self.links[role.index()] = Link::Connected {
            process: Box::default(),
            is_black_hole: false,
        };
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        backend.handle_connected(role);
        self.after();
    }

    pub(super) fn link_dies(&mut self, role: Role) {
        match (self.random.below(5), &mut self.links[role.index()]) {
            (_, Link::None) => {}
            (0, Link::Connected { is_black_hole, .. }) => {
                *is_black_hole = true;
                self.note(|_| format!("the {role} session falls silent"));
            }
            (1 | 2, Link::Connected { process, .. }) => {
                if !process.ended {
                    process.terminate();
                }
            }
            _ => self.lose(role, "was reset"),
        }
    }

    /// The connection is lost; the hub is told.
    pub(super) fn lose(&mut self, role: Role, why: &str) {
        self.truth.step += 1;
        self.note(|_| format!("the connection of the {role} session {why}"));
        self.end_link(role);
        let now = self.at();
        let backend = self.hub.backend().expect("there is a PostgreSQL");
        backend.handle_lost(role, why, now);
        self.hub.handle_backend();
        self.after();
    }

    /// The server process may still carry out its requests, and no answer arrives.
    pub(super) fn end_link(&mut self, role: Role) {
        for _ in 0..self.random.pick(&[0, 3, 1_000]) {
            if !self.work(role, self.mood) {
                break;
            }
        }
        self.links[role.index()] = Link::None;
    }
}
