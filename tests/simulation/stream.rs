//! One reader of events from its own point of view: where each channel begins, what is recovered, and
//! whether its ids say where it was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{NEVER, Truth};

/// An id that a reader had, and what it stands for: all that came up to some moment.
#[derive(Clone, Debug)]
pub struct StreamId {
    pub text: String,
    /// The channel of its event.
    channel: String,
    listen: usize,
    seq: u64,
    moment: u64,
    /// The hub never gave it.
    is_forged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    listen: usize,
    seq: u64,
    /// A `status` down arrived, and no event yet said that the channel is complete again.
    doubtful: bool,
}

/// The events of one reader.
pub struct StreamView {
    channels: Vec<String>,
    resumed: Option<StreamId>,
    /// The step in which the hub had its request, and the moment.
    asked: Option<(u64, u64)>,
    /// Times to retry: one comes first, and one before the end.
    retries: usize,
    positions: BTreeMap<String, Position>,
    /// Refused for a limit.
    refused: BTreeSet<String>,
    /// The next event tells that something of this channel is missing.
    gap_due: Option<String>,
    status: Option<bool>,
    last_order: u64,
    pub last_id: Option<StreamId>,
}

impl StreamId {
    /// One that no bridge ever gave.
    pub fn forge(&mut self) {
        self.text.insert(0, '0');
        self.is_forged = true;
    }
}

impl StreamView {
    pub fn new(channels: Vec<String>, resumed: Option<StreamId>) -> Self {
        Self {
            channels,
            last_id: resumed.clone(),
            resumed,
            asked: None,
            retries: 0,
            positions: BTreeMap::new(),
            refused: BTreeSet::new(),
            gap_due: None,
            status: None,
            last_order: 0,
        }
    }

    /// Those that it asks for.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// The request.
    pub fn head(&self) -> Vec<u8> {
        let encoded = |name: &str| -> String {
            let bytes = name.bytes().map(|byte| format!("%{byte:02X}"));
            bytes.collect()
        };
        let pairs = self.channels.iter();
        let pairs: Vec<_> = pairs.map(|it| format!("channel={}", encoded(it))).collect();
        let id = match &self.resumed {
            None => String::new(),
            Some(id) => format!("Last-Event-ID: {}\r\n", id.text),
        };
        let query = pairs.join("&");
        format!("GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n{id}\r\n").into_bytes()
    }

    /// The request is complete, and reaches the hub in this step.
    pub fn ask(&mut self, number: u32, truth: &mut Truth) {
        self.asked = Some((truth.step, truth.moments));
        for channel in &self.channels {
            truth.places.want(number, channel);
        }
    }

    /// The channels whose beginning it was told.
    pub fn subscribed(&self) -> impl Iterator<Item = &str> {
        self.positions.keys().map(String::as_str)
    }

    /// Whether a channel was refused, or may have been: the stream ends then.
    pub fn may_end(&self, truth: &Truth) -> bool {
        let asked = self.asked.map_or(NEVER, |(step, _)| step);
        let was_refused = |name: &String| {
            let channel = truth.channels.get(name);
            channel.is_some_and(|it| it.refused.iter().any(|&step| step > asked))
        };
        truth.is_limited || self.channels.iter().any(was_refused)
    }

    /// The time after which it is to come again.
    pub fn hear_retry(&mut self) {
        self.retries += 1;
    }

    /// An event with data.
    pub fn hear(&mut self, name: &str, id: Option<&str>, data: &Value, truth: &mut Truth) {
        assert_eq!(self.retries, 1, "the first event is the time to retry");
        let channel = data["channel"].as_str().unwrap_or_default();
        let epoch = data["epoch"].as_str().unwrap_or_default();
        let seq = data["seq"].as_u64().unwrap_or(NEVER);
        truth.count(&format!(
            "event {}",
            if name.is_empty() { "message" } else { name }
        ));
        let due = self.gap_due.take();
        assert!(
            due.is_none() || name == "gap" && due.as_deref() == Some(channel),
            "a channel that is not recovered has its gap at once"
        );
        match name {
            "subscribed" => {
                let recovered = data["recovered"].as_bool();
                self.hear_subscribed((channel, epoch, seq), recovered, id, truth);
            }
            "gap" if due.is_some() => {
                assert_eq!(data["reason"], "not_recovered");
                self.hear_loss(channel, seq, id, truth);
            }
            "gap" => {
                assert_eq!(data["reason"], "postgres_reconnect");
                self.hear_gap((channel, epoch, seq), id, truth);
            }
            "" => {
                let payload = data["payload"].as_str().expect("a payload");
                self.hear_notification((channel, payload, seq), id, truth);
            }
            "status" => {
                assert_eq!(id, None);
                self.hear_status(data["postgres"] == "up");
            }
            "error" => {
                assert_eq!(id, None);
                self.hear_error(channel, data["code"].as_str().expect("a code"), truth);
            }
            _ => panic!("no such event"),
        }
    }

    /// The moment in which PostgreSQL's last answer for any of its channels reached the hub, and the
    /// channels that it did not refuse then.
    fn opening(&self, truth: &Truth) -> (u64, Vec<String>) {
        let opening = self.try_opening(truth);
        opening.expect("opened before PostgreSQL answered for each channel")
    }

    fn try_opening(&self, truth: &Truth) -> Option<(u64, Vec<String>)> {
        let (step, asked) = self.asked?;
        let (mut opened, mut channels) = (asked, Vec::new());
        for name in &self.channels {
            if self.refused.contains(name) {
                continue;
            }
            let channel = truth.channels.get(name)?;
            let mut listens = channel.listens.iter();
            if listens.any(|it| it.began <= asked && it.ended > step) {
                channels.push(name.clone());
                continue;
            }
            let confirmed = channel.listens.iter().map(|it| it.began);
            let confirmed = confirmed.filter(|&it| it > asked).min();
            let refused = channel.refused_at.iter().copied().find(|&it| it > asked);
            let answered = confirmed.into_iter().chain(refused).min()?;
            opened = opened.max(answered);
            if confirmed == Some(answered) {
                channels.push(name.clone());
            }
        }
        Some((opened, channels))
    }

    fn hear_subscribed(
        &mut self,
        (channel, epoch, seq): (&str, &str, u64),
        recovered: Option<bool>,
        id: Option<&str>,
        truth: &mut Truth,
    ) {
        let (opened, channels) = self.opening(truth);
        let expected = channels.get(self.positions.len()).map(String::as_str);
        assert_eq!(expected, Some(channel), "once each, in the order asked");
        let listens = &truth.channels[channel].listens;
        let listen = listens.iter().rposition(|it| it.began <= opened);
        let listen = listen.expect("subscribed before LISTEN was confirmed");
        truth.bind(channel, listen, epoch);
        let it = truth.listen(channel, listen);
        let current = it.fed_up_to(opened);
        assert_eq!(recovered.is_some(), self.resumed.is_some());
        match (recovered, &self.resumed) {
            (Some(true), Some(resumed)) => {
                assert!(!resumed.is_forged, "recovered from nowhere");
                let moment = resumed.moment;
                assert!(it.began <= moment, "recovered from before LISTEN");
                let seen = it.fed_up_to(moment);
                assert_eq!(seq, seen, "subscribed says where it begins");
                let missed = current - seq;
                assert!(truth.may_be_kept(missed), "recovered what is gone");
                truth.count(if missed > 0 {
                    "stream replay"
                } else {
                    "stream goes on"
                });
            }
            (_, resumed) => {
                assert_eq!(seq, current, "subscribed says where it begins");
                if let Some(resumed) = resumed {
                    let provable = self.is_provable(channel, resumed, opened, truth);
                    assert!(!provable, "the ring holds what it missed");
                    self.gap_due = Some(channel.to_owned());
                    truth.count("stream not recovered");
                }
            }
        }
        let position = Position {
            listen,
            seq,
            doubtful: false,
        };
        self.positions.insert(channel.to_owned(), position);
        self.move_to(channel, id, opened);
    }

    /// Whether the channel is certainly to be recovered: the position is known by its own channel, and
    /// all behind it is kept.
    fn is_provable(&self, channel: &str, resumed: &StreamId, opened: u64, truth: &Truth) -> bool {
        let (_, channels) = self.opening(truth);
        if resumed.is_forged || !channels.contains(&resumed.channel) {
            return false;
        }
        let current = |name: &str| {
            let listens = &truth.channels[name].listens;
            listens.iter().rposition(|it| it.began <= opened)
        };
        let own = truth.listen(&resumed.channel, resumed.listen);
        let own_missed = own.fed_up_to(opened) - resumed.seq;
        let is_known = current(&resumed.channel) == Some(resumed.listen)
            && (own_missed == 0 || own_missed < truth.history && truth.must_be_kept(own_missed));
        let it = truth.listen(channel, current(channel).expect("it was confirmed"));
        let missed = it.fed_up_to(opened) - it.fed_up_to(resumed.moment);
        is_known && it.began <= resumed.moment && truth.must_be_kept(missed)
    }

    /// The reader's id is that of a beginning: of this moment, or of the one from which it goes on.
    fn move_to(&mut self, channel: &str, id: Option<&str>, opened: u64) {
        let Some(id) = id else {
            let is_odd = self.resumed.as_ref().is_some_and(|it| it.is_forged);
            assert!(is_odd, "a beginning has an id");
            return;
        };
        let is_kept = self.resumed.as_ref().is_some_and(|it| it.text == id);
        if is_kept {
            self.last_id.clone_from(&self.resumed);
            return;
        }
        let position = self.positions[channel];
        let moment = match &self.resumed {
            Some(resumed) if !resumed.is_forged => resumed.moment,
            Some(_) | None => opened,
        };
        self.set_id(id, channel, position, moment);
    }

    fn set_id(
        &mut self,
        text: &str,
        channel: &str,
        Position { listen, seq, .. }: Position,
        moment: u64,
    ) {
        self.last_id = Some(StreamId {
            text: text.to_owned(),
            channel: channel.to_owned(),
            listen,
            seq,
            moment,
            is_forged: false,
        });
    }

    /// Something of the channel is missing, and the reader is told so where it begins.
    fn hear_loss(&mut self, channel: &str, seq: u64, id: Option<&str>, truth: &Truth) {
        let position = self.positions[channel];
        assert_eq!(seq, position.seq, "from here on it is complete");
        let (opened, channels) = self.opening(truth);
        let is_last = self.positions.len() == channels.len();
        let before = self.last_id.as_ref().map(|it| it.text.as_str());
        if id == before || id.is_none() && !is_last {
            return;
        }
        // Nobody knew where it was: now all is told, and it is here.
        assert!(is_last, "its position moves when all is told");
        self.set_id(id.expect("told"), channel, position, opened);
    }

    fn hear_notification(
        &mut self,
        (channel, payload, seq): (&str, &str, u64),
        id: Option<&str>,
        truth: &Truth,
    ) {
        let position = self.positions.get_mut(channel);
        let position = position.expect("a notification without a subscription");
        position.seq += 1;
        assert_eq!(seq, position.seq, "seq is consecutive");
        let position = *position;
        let listen = truth.listen(channel, position.listen);
        let at = usize::try_from(seq - 1).expect("small");
        let fed = listen.fed.get(at).expect("more than PostgreSQL sent");
        assert_eq!(payload, fed.payload, "in commit order");
        assert!(fed.order > self.last_order, "commit order across channels");
        self.last_order = fed.order;
        let expected = format!("{}:{seq}", truth.epoch(channel, position.listen));
        assert_eq!(id, Some(&*expected), "its id is its own position");
        self.set_id(&expected, channel, position, fed.order);
    }

    fn hear_gap(
        &mut self,
        (channel, epoch, seq): (&str, &str, u64),
        id: Option<&str>,
        truth: &mut Truth,
    ) {
        let position = self.positions.get(channel).copied();
        let position = position.expect("a gap without a subscription");
        let listens = &truth.channels[channel].listens;
        let before = &listens[position.listen];
        assert_ne!(before.ended, NEVER, "a gap, and nothing was lost");
        let fed = before.fed.len() as u64;
        assert_eq!(
            position.seq, fed,
            "a gap stands behind all that came before it"
        );
        let next = position.listen + 1;
        let listen = listens.get(next);
        let began = listen
            .expect("a gap before LISTEN was confirmed again")
            .began;
        assert!(
            began > self.last_order,
            "a gap is in the order of all channels"
        );
        self.last_order = began;
        assert_eq!(seq, 0);
        let position = Position {
            listen: next,
            seq,
            doubtful: false,
        };
        self.positions.insert(channel.to_owned(), position);
        truth.bind(channel, next, epoch);
        self.set_id(id.expect("a gap has an id"), channel, position, began);
    }

    fn hear_status(&mut self, up: bool) {
        assert_ne!(self.status.unwrap_or(true), up, "status alternates");
        self.status = Some(up);
        for (channel, position) in &mut self.positions {
            let is_early = up && position.doubtful;
            assert!(!is_early, "{channel}: up before its gap was told");
            position.doubtful = !up;
        }
    }

    fn hear_error(&mut self, channel: &str, code: &str, truth: &Truth) {
        match code {
            "postgres_error" => {
                let refused = truth.channels.get(channel).map(|it| it.refused.len());
                assert!(refused > Some(0), "nothing was refused");
                if let Some(position) = self.positions.get_mut(channel) {
                    position.doubtful = false;
                }
            }
            "too_many_subscriptions" | "too_many_channels" | "rate_limited" => {
                assert!(truth.is_limited, "no limit is near");
                self.refused.insert(channel.to_owned());
            }
            _ => panic!("no reason for this error"),
        }
    }

    /// The stream ends with this code.
    pub fn hear_end(&self, code: u16, truth: &Truth) {
        assert!((1..=2).contains(&self.retries), "told when to come back");
        if code == 1013 {
            assert!(self.may_end(truth), "nothing was refused");
        }
    }

    /// What is wrong once all is quiet, if anything.
    pub fn fault(&self, truth: &Truth) -> Option<String> {
        self.asked?;
        let Some((_, channels)) = self.try_opening(truth) else {
            return Some("PostgreSQL has not answered for each channel".to_owned());
        };
        if channels.len() < self.channels.len() {
            return Some("a channel was refused, and it does not end".to_owned());
        }
        if self.positions.len() < channels.len() || self.gap_due.is_some() {
            return Some("it does not begin".to_owned());
        }
        if self.status == Some(false) {
            return Some("never told that PostgreSQL is up".to_owned());
        }
        self.positions.iter().find_map(|(channel, position)| {
            let listens = &truth.channels[channel].listens;
            let listen = &listens[position.listen];
            let missing = listen.fed.len() as u64 - position.seq;
            if position.listen + 1 != listens.len() {
                Some(format!("{channel}: no gap was told"))
            } else if listen.ended != NEVER {
                Some(format!("{channel}: not listened to any more"))
            } else {
                (missing > 0).then(|| format!("{channel}: {missing} are missing at the end"))
            }
        })
    }
}
