//! What is seen of the bridges, and whether it is what the order says.

use super::{Bridge, Commit, Counted, Order};
use crate::{
    hub::group::{Judgement, Patience},
    message::Since,
};

impl Order {
    /// Each offset is that of the order.
    pub(in super::super) fn check(&self) {
        for (at, bridge) in self.bridges.iter().enumerate() {
            assert_eq!(bridge.group.counts.contradictions, 0, "bridge {at}");
            for &(epoch, seq, number) in &bridge.delivered {
                if let Some((name, base)) = self.bases.get(&epoch) {
                    let told = i64::try_from(number).unwrap() - i64::try_from(seq).unwrap();
                    assert_eq!(told, *base, "bridge {at}: {number} of {name} as {seq}");
                }
            }
            for (name, counted) in &bridge.channels {
                let Some(&(_, own)) = self.bases.get(&counted.epoch) else {
                    continue;
                };
                for (epoch, (of, theirs)) in &self.bases {
                    let Some(offset) = bridge.group.ledger.offset(counted.key, *epoch) else {
                        continue;
                    };
                    assert_eq!(of, name, "bridge {at}: {epoch}");
                    assert_eq!(offset, theirs - own, "bridge {at}: {epoch} of {name}");
                }
            }
        }
    }

    /// Each bridge has counted everything.
    pub(in super::super) fn check_complete(&self) {
        self.check();
        for (at, bridge) in self.bridges.iter().enumerate() {
            let channels = bridge.channels.iter().filter(|_| bridge.is_listening);
            for (name, counted) in channels {
                assert!(counted.is_counted, "bridge {at}: {name}");
                let base = self.bases[&counted.epoch].1;
                let seq = i64::try_from(counted.seq).unwrap();
                assert_eq!(base + seq, self.counts.get(name).map_or(0, |&it| it as i64));
            }
        }
    }

    pub(in super::super) fn offset_count(&self) -> usize {
        let counts = self.bridges.iter().map(|it| it.group.offset_count());
        counts.sum()
    }

    pub(in super::super) fn is_ready(&mut self, bridge: usize) -> bool {
        let now = self.now;
        let Bridge {
            group, channels, ..
        } = &mut self.bridges[bridge];
        let heard = |name: &str| channels.get(name).and_then(Counted::heard);
        group.readiness(&heard, now).is_ok()
    }

    /// Whether the bridge counts the channel.
    pub(in super::super) fn stands(&self, bridge: usize, name: &str) -> bool {
        let counted = self.bridges[bridge].channels.get(name);
        counted.is_some_and(|it| it.is_counted)
    }

    /// The position of the bridge on a channel, so many notifications back.
    pub(in super::super) fn since(&self, bridge: usize, name: &str, back: u64) -> Since {
        let counted = &self.bridges[bridge].channels[name];
        Since {
            epoch: counted.epoch.to_string().into(),
            seq: counted.seq - back,
        }
    }

    /// The first words of the payloads that the bridge keeps of a channel.
    pub(in super::super) fn payloads(&self, bridge: usize, name: &str) -> Vec<String> {
        let ring = self.bridges[bridge].channels[name].ring.iter();
        let first = ring.map(|kept| kept.payload.split(' ').next().unwrap().to_owned());
        first.collect()
    }

    pub(in super::super) fn judge(
        &mut self,
        bridge: usize,
        name: &str,
        since: &Since,
    ) -> Judgement {
        self.judged(bridge, name, since, Patience::Answers)
    }

    pub(in super::super) fn judge_at_last(
        &mut self,
        bridge: usize,
        name: &str,
        since: &Since,
    ) -> Judgement {
        self.judged(bridge, name, since, Patience::None)
    }

    fn judged(
        &mut self,
        bridge: usize,
        name: &str,
        since: &Since,
        patience: Patience,
    ) -> Judgement {
        let now = self.now;
        let it = &mut self.bridges[bridge];
        let Counted { key, seq, .. } = it.channels[name];
        it.group.judge(key, seq, since, patience, now)
    }

    pub(in super::super) fn released(&mut self, bridge: usize) -> Vec<(String, Patience)> {
        std::mem::take(&mut self.bridges[bridge].released)
    }

    /// Everything that was said on the control channel.
    pub(in super::super) fn recorded(&self) -> Vec<(i32, String)> {
        let said = self.log.iter().filter_map(|commit| match commit {
            Commit::Control { pid, payload } => Some((*pid, payload.clone())),
            Commit::Notification(..) => None,
        });
        said.collect()
    }

    pub(in super::super) fn control_bytes(&self) -> usize {
        self.recorded().iter().map(|it| it.1.len()).sum()
    }

    /// Notifications of the channel among the first so many commits.
    pub(super) fn count(&self, name: &str, commits: usize) -> u64 {
        let log = self.log[..commits].iter();
        let of = log.filter(|it| matches!(it, Commit::Notification(of, _) if of == name));
        of.count() as u64
    }
}
