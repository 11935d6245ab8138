//! Sessions come and go, and LISTENs are confirmed.

use super::{Counted, Order};
use crate::channel::Channel;

impl Order {
    /// Both sessions come up, and every channel is listened to that was before.
    pub(in super::super) fn come_up(&mut self, bridge: usize) {
        self.pids += 1;
        let (pid, start, now) = (self.pids, self.server_start, self.now);
        let it = &mut self.bridges[bridge];
        it.is_up = true;
        it.pid = pid;
        self.listen_again(bridge);
        let it = &mut self.bridges[bridge];
        it.group.handle_publishing_up(pid, start, now);
        self.confirm_all(bridge);
    }

    /// Both sessions are lost.
    pub(in super::super) fn go_down(&mut self, bridge: usize) {
        self.lose_listening(bridge);
        let it = &mut self.bridges[bridge];
        it.is_up = false;
        it.group.handle_publishing_down();
    }

    /// The listening session is lost.
    pub(in super::super) fn lose_listening(&mut self, bridge: usize) {
        let it = &mut self.bridges[bridge];
        it.is_listening = false;
        it.group.handle_listening_down();
        for counted in it.channels.values_mut() {
            counted.is_listened = false;
            counted.is_counted = false;
        }
    }

    /// There is a listening session again; it hears the control channel.
    pub(in super::super) fn listen_again(&mut self, bridge: usize) {
        let (start, now) = (self.server_start, self.now);
        let it = &mut self.bridges[bridge];
        it.read = self.log.len();
        it.is_listening = true;
        it.group.handle_listening_up(start, now);
    }

    /// The LISTEN of each channel is confirmed.
    pub(in super::super) fn confirm_all(&mut self, bridge: usize) {
        let names: Vec<_> = self.bridges[bridge].channels.keys().cloned().collect();
        for name in names {
            self.confirm(bridge, &name);
        }
    }

    /// The LISTEN of a channel is confirmed, unless it is already.
    pub(super) fn confirm(&mut self, bridge: usize, name: &str) {
        // What was committed before does not come any more.
        self.read_all(bridge);
        let now = self.now;
        let it = &mut self.bridges[bridge];
        let Some(counted) = it.channels.get_mut(name).filter(|it| !it.is_listened) else {
            return;
        };
        if !it.is_listening {
            return;
        }
        counted.is_listened = true;
        let key = counted.key;
        if !it.group.is_catching_up() {
            it.gaps += usize::from(counted.epoch.process > 0);
            self.begin(bridge, name);
            return;
        }
        if !it.group.is_suspended(key, counted.epoch) {
            let epoch = self.epoch(bridge);
            let counted = self.counted(bridge, name);
            (counted.epoch, counted.seq) = (epoch, 0);
            counted.ring.clear();
        }
        let it = &mut self.bridges[bridge];
        let Counted {
            epoch, seq, is_own, ..
        } = it.channels[name];
        let channel = Channel::new(name).unwrap();
        it.group.hold_back(key, &channel, epoch, seq, is_own, now);
    }

    /// PostgreSQL knows all whose publishing session is there.
    pub(super) fn answer_members(&mut self, bridge: usize) {
        let others = self.bridges.iter().enumerate();
        let others = others.filter(|&(other, it)| other != bridge && it.is_up);
        let pids = others.map(|(_, it)| it.pid).collect();
        let now = self.now;
        self.bridges[bridge].group.handle_members(pids, now);
    }
}
