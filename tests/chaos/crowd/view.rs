//! One client from its own point of view, over all its connections: its requests, the answers, and
//! whether the two agree. Checks that depend on the fate of a publish are left to
//! [`Audit`](crate::audit).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    time::Instant,
};

use serde_json::Value;

use crate::ledger::{self, Entry, Ledger, Number, Outcome, Stream};

/// The messages of each epoch, which must be the same for all clients.
#[derive(Default)]
pub struct Epochs(HashMap<String, Epoch>);

struct Epoch {
    channel: usize,
    by_seq: HashMap<u64, (Stream, Number)>,
}

impl Epochs {
    fn meet(&mut self, name: &str, channel: usize) -> Result<&mut Epoch, String> {
        if !self.0.contains_key(name) {
            let epoch = Epoch {
                channel,
                by_seq: HashMap::new(),
            };
            self.0.insert(name.to_owned(), epoch);
        }
        let epoch = self.0.get_mut(name).ok_or("just inserted")?;
        if epoch.channel != channel {
            return Err(format!("epoch {name} is of channel {}, too", epoch.channel));
        }
        Ok(epoch)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A request without an answer.
#[derive(Debug)]
pub enum Asked {
    Subscribe {
        channel: usize,
        since: Option<(String, u64)>,
        at: Instant,
    },
    Unsubscribe {
        channel: usize,
    },
    Notify {
        stream: Stream,
        number: Number,
    },
    Ping,
}

/// Numbers that a client did not receive.
#[derive(Debug)]
pub struct Skip {
    pub stream: Stream,
    pub numbers: Range<Number>,
    /// The segment of the number before them, if there was one.
    pub from: Option<usize>,
    /// The segment of the number behind them.
    pub to: usize,
}

/// A stretch of a channel in which the client was not told of a loss.
#[derive(Debug)]
pub struct Segment {
    /// The time of the promise that everything arrives; numbers published later belong to it.
    pub began: Instant,
    /// Numbers committed before the latest publish in it belong to it, too.
    pub latest_begun: Option<Instant>,
}

/// A channel that a client has subscribed to at some time.
#[derive(Debug)]
pub struct Heard {
    pub is_subscribed: bool,
    position: (String, u64),
    /// At least one; the position is in the last one.
    pub segments: Vec<Segment>,
    /// The last number of each stream, and its segment.
    last: BTreeMap<Stream, (Number, usize)>,
    pub skips: Vec<Skip>,
    /// Arrived after a higher number, as only one with an unknown outcome may.
    pub late: Vec<(Stream, Number)>,
    left: BTreeSet<String>,
    /// A `status` down arrived, and no message yet said that the channel is complete again.
    is_doubtful: bool,
    /// The times of the request to resume and of its answer: older numbers than the request were
    /// published while the client was away, younger ones than the answer are live.
    resumed: Option<[Instant; 2]>,
}

/// The messages received, by kind.
pub type Tally = BTreeMap<String, u64>;

#[derive(Default)]
pub struct View {
    pub channels: BTreeMap<usize, Heard>,
    pub pending: BTreeMap<u64, Asked>,
    is_up: Option<bool>,
    /// The latest `begun` of the live numbers on this connection.
    latest_begun: Option<Instant>,
    pub tally: Tally,
    pub delivered: u64,
    /// Of these, published while the client was away.
    pub recovered: u64,
}

impl View {
    /// The connection is lost, and with it every pending answer.
    pub fn disconnect(&mut self, ledger: &Ledger) {
        for asked in std::mem::take(&mut self.pending).into_values() {
            if let Asked::Notify { stream, number } = asked {
                ledger.settle(stream, number, Outcome::Unknown);
            }
        }
        self.is_up = None;
        self.latest_begun = None;
        for heard in self.channels.values_mut() {
            heard.is_subscribed = false;
            heard.is_doubtful = false;
        }
    }

    /// The position from which to resume.
    pub fn position(&self, channel: usize) -> Option<(String, u64)> {
        self.channels
            .get(&channel)
            .map(|heard| heard.position.clone())
    }

    /// Whether it receives all of a channel, according to the messages so far.
    pub fn is_whole(&self, channel: usize) -> bool {
        let heard = self.channels.get(&channel);
        heard.is_some_and(|it| it.is_subscribed && !it.is_doubtful) && self.is_up != Some(false)
    }

    /// The last number received of a stream.
    pub fn last(&self, channel: usize, stream: Stream) -> Option<Number> {
        Some(self.channels.get(&channel)?.last.get(&stream)?.0)
    }

    pub fn count(&mut self, kind: &str) {
        *self.tally.entry(kind.to_owned()).or_default() += 1;
    }

    /// A message of the bridge; an error is a promise it broke.
    pub fn hear(
        &mut self,
        message: &Value,
        names: &BTreeMap<String, usize>,
        ledger: &Ledger,
        epochs: &mut Epochs,
    ) -> Result<(), String> {
        let kind = message["type"].as_str().ok_or("no type")?;
        self.count(message["code"].as_str().unwrap_or(kind));
        let channel = message["channel"].as_str();
        let channel = channel.map(|name| names.get(name).ok_or("a channel without a request"));
        let channel = channel.transpose()?.copied();
        let epoch = message["epoch"].as_str().unwrap_or_default();
        let seq = message["seq"].as_u64().unwrap_or(u64::MAX);
        let id = message["id"].as_u64();
        match (kind, channel) {
            ("notification", Some(channel)) => {
                let payload = message["payload"].as_str().ok_or("no payload")?;
                self.hear_notification(channel, payload, seq, ledger, epochs)
            }
            ("subscribed", Some(channel)) => {
                epochs.meet(epoch, channel)?;
                let recovered = message["recovered"].as_bool();
                self.hear_subscribed(channel, (epoch, seq), id, recovered)
            }
            ("gap", Some(channel)) => {
                epochs.meet(epoch, channel)?;
                let heard = self.channels.get_mut(&channel);
                let heard = heard
                    .filter(|it| it.is_subscribed)
                    .ok_or("a gap out of nowhere")?;
                if heard.position.0 == epoch || seq != 0 {
                    return Err(format!("a gap goes on from {:?}", heard.position));
                }
                heard.begin(epoch, seq)
            }
            ("unsubscribed", Some(channel)) => {
                self.take_of_channel(channel, false, id)?;
                if let Some(heard) = self.channels.get_mut(&channel) {
                    heard.is_subscribed = false;
                }
                Ok(())
            }
            ("notified", Some(_)) => self.hear_published(id, true, Outcome::Acknowledged, ledger),
            ("status", None) => self.hear_status(message["postgres"] == "up"),
            ("pong", None) => match id.and_then(|id| self.pending.remove(&id)) {
                Some(Asked::Ping) => Ok(()),
                other => Err(format!("a pong for {other:?}")),
            },
            ("error", _) => {
                let code = message["code"].as_str().ok_or("an error without a code")?;
                self.hear_error(code, channel, id, ledger)
            }
            _ => Err("no such message".to_owned()),
        }
    }

    fn hear_notification(
        &mut self,
        channel: usize,
        payload: &str,
        seq: u64,
        ledger: &Ledger,
        epochs: &mut Epochs,
    ) -> Result<(), String> {
        let heard = self.channels.get_mut(&channel);
        let heard = heard
            .filter(|it| it.is_subscribed)
            .ok_or("not subscribed")?;
        if seq != heard.position.1 + 1 {
            return Err(format!("not the next one after {:?}", heard.position));
        }
        heard.position.1 = seq;
        let (stream, number) = ledger::parse(payload).ok_or("not what was published")?;
        let entry = ledger
            .hear(stream, number)
            .ok_or("a number that was never published")?;
        if ledger.channel(stream) != channel {
            return Err("published on another channel".to_owned());
        }
        let known = epochs.meet(&heard.position.0, channel)?;
        let known = *known.by_seq.entry(seq).or_insert((stream, number));
        if known != (stream, number) {
            return Err(format!("another client got {known:?} under this number"));
        }
        heard.advance(stream, number, entry.begun);
        self.delivered += 1;
        if let Some([asked, told]) = heard.resumed {
            self.recovered += u64::from(entry.begun < asked);
            if entry.begun < told {
                return Ok(());
            }
        }
        ledger.time(entry.begun);
        // Across channels, too: a number committed before another was begun comes first.
        let committed_by = entry
            .settled
            .filter(|_| entry.outcome == Outcome::Acknowledged);
        if committed_by.is_some_and(|at| Some(at) < self.latest_begun) {
            return Err("not in commit order".to_owned());
        }
        self.latest_begun = self.latest_begun.max(Some(entry.begun));
        Ok(())
    }

    fn hear_subscribed(
        &mut self,
        channel: usize,
        (epoch, seq): (&str, u64),
        id: Option<u64>,
        recovered: Option<bool>,
    ) -> Result<(), String> {
        let Asked::Subscribe { since, at, .. } = self.take_of_channel(channel, true, id)? else {
            return Err("an answer of another kind".to_owned());
        };
        if since.is_some() != recovered.is_some() {
            return Err(format!("{recovered:?} to {since:?}"));
        }
        if let Some(since) = since {
            let heard = self.channels.get_mut(&channel).ok_or("no position")?;
            heard.is_subscribed = true;
            if recovered == Some(true) {
                if (epoch, seq) != (&since.0, since.1) {
                    return Err(format!("recovered from {since:?}"));
                }
                heard.resumed = Some([at, Instant::now()]);
                return Ok(());
            }
            if epoch == since.0 && seq.saturating_sub(since.1) <= HISTORY {
                return Err(format!("the ring holds what follows {since:?}"));
            }
            return heard.begin(epoch, seq);
        }
        let heard = Heard {
            is_subscribed: true,
            position: (epoch.to_owned(), seq),
            segments: vec![Segment::begin()],
            last: BTreeMap::new(),
            skips: Vec::new(),
            late: Vec::new(),
            left: BTreeSet::new(),
            is_doubtful: false,
            resumed: None,
        };
        match self.channels.insert(channel, heard) {
            None => Ok(()),
            Some(_) => Err("subscribed without its position".to_owned()),
        }
    }

    fn hear_status(&mut self, is_up: bool) -> Result<(), String> {
        if self.is_up.unwrap_or(true) == is_up {
            return Err("status alternates".to_owned());
        }
        self.is_up = Some(is_up);
        for heard in self.channels.values_mut().filter(|it| it.is_subscribed) {
            if is_up && heard.is_doubtful {
                return Err("up before each gap was told".to_owned());
            }
            heard.is_doubtful = !is_up;
        }
        Ok(())
    }

    fn hear_error(
        &mut self,
        code: &str,
        channel: Option<usize>,
        id: Option<u64>,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let is_publish =
            id.is_some_and(|id| matches!(self.pending.get(&id), Some(Asked::Notify { .. })));
        let channel = channel.ok_or("of no channel")?;
        match code {
            "unknown_outcome" if is_publish => {
                self.hear_published(id, true, Outcome::Unknown, ledger)
            }
            "postgres_error" if is_publish => {
                self.hear_published(id, true, Outcome::Refused, ledger)
            }
            "postgres_down" if is_publish => {
                self.hear_published(id, false, Outcome::Refused, ledger)
            }
            "cancelled" | "postgres_error" if id.is_some() => {
                self.take_of_channel(channel, true, id).map(drop)
            }
            "postgres_error" => {
                let heard = self.channels.get_mut(&channel).ok_or("never subscribed")?;
                heard.is_doubtful = false;
                Ok(())
            }
            _ => Err("no reason for this error".to_owned()),
        }
    }

    /// The publishes of one stream are answered in the order sent, unless refused at once.
    fn hear_published(
        &mut self,
        id: Option<u64>,
        in_order: bool,
        outcome: Outcome,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let asked = id.and_then(|id| self.pending.remove(&id));
        let Some(Asked::Notify { stream, number }) = asked else {
            return Err(format!(
                "an answer without a request, or the second: {asked:?}"
            ));
        };
        let is_older = |asked: &Asked| matches!(asked, Asked::Notify { stream: of, number: it } if *of == stream && *it < number);
        if in_order && self.pending.values().any(is_older) {
            return Err("publishes are answered in order".to_owned());
        }
        ledger.settle(stream, number, outcome);
        Ok(())
    }

    /// The requests for one channel are answered in the order sent.
    fn take_of_channel(
        &mut self,
        of: usize,
        is_subscribe: bool,
        id: Option<u64>,
    ) -> Result<Asked, String> {
        let first = self.pending.iter().find(|(_, asked)| {
            matches!(asked, Asked::Subscribe { channel, .. } | Asked::Unsubscribe { channel } if *channel == of)
        });
        let first = first.map(|(&first, asked)| (first, matches!(asked, Asked::Subscribe { .. })));
        match (first, id) {
            (Some((first, kind)), Some(id)) if first == id && kind == is_subscribe => self
                .pending
                .remove(&id)
                .ok_or_else(|| "just found".to_owned()),
            _ => Err(format!(
                "not what is to be answered next, which is {first:?}"
            )),
        }
    }
}

impl Heard {
    /// Numbers may be missing; from here on it is complete again.
    fn begin(&mut self, epoch: &str, seq: u64) -> Result<(), String> {
        if self.position.0 != epoch {
            self.left.insert(std::mem::take(&mut self.position.0));
        }
        if self.left.contains(epoch) {
            return Err("an epoch that was over".to_owned());
        }
        self.position = (epoch.to_owned(), seq);
        self.segments.push(Segment::begin());
        self.is_doubtful = false;
        self.resumed = None;
        Ok(())
    }

    fn advance(&mut self, stream: Stream, number: Number, begun: Instant) {
        let to = self.segments.len() - 1;
        let segment = &mut self.segments[to];
        segment.latest_begun = segment.latest_begun.max(Some(begun));
        let before = self.last.get(&stream).copied();
        let next = before.map_or(0, |(last, _)| last + 1);
        if number < next {
            self.late.push((stream, number));
            return;
        }
        if number > next {
            self.skips.push(Skip {
                stream,
                numbers: next..number,
                from: before.map(|(_, segment)| segment),
                to,
            });
        }
        self.last.insert(stream, (number, to));
    }

    /// Whether a number of a skip was committed where the client was promised everything.
    pub fn is_lost_unseen(&self, skip: &Skip, entry: &Entry) -> bool {
        let ends_before = |segment: &Segment| segment.latest_begun < entry.settled;
        let first = skip.from.unwrap_or(0);
        (first..=skip.to).any(|at| {
            let segment = &self.segments[at];
            let is_begun_before = skip.from != Some(at) && entry.begun < segment.began;
            let is_settled_after = skip.to != at && ends_before(segment);
            !is_begun_before && !is_settled_after
        })
    }
}

impl Segment {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            latest_begun: None,
        }
    }
}

/// The default of `--history`.
const HISTORY: u64 = 64;
