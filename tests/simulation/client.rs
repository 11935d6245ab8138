//! The far end of a client's socket: writes masked frames, parses the server's strictly.

use std::{collections::VecDeque, time::Duration};

use serde_json::Value;

use crate::{
    oracle::{Request, Since, StreamView, Truth, View},
    random::Random,
    wire::{frame, take_frame, upgrade_head},
};

pub struct Client {
    pub number: u32,
    pub view: View,
    /// In its place, of one that reads events.
    pub stream: Option<StreamView>,
    /// Written by us, not yet read by the hub; with the request that is complete at the end of each
    /// piece.
    to_hub: VecDeque<(Vec<u8>, Whole)>,
    /// Bytes at its front that the hub has, and has not processed.
    left_bytes: usize,
    /// The time since which the hub has an incomplete piece from the front, if it has one.
    pub part_began: Option<Duration>,
    /// The longest time that it had an incomplete piece.
    pub part_time: Duration,
    /// In the socket, not yet read by us.
    pub socket: Vec<u8>,
    /// The capacity of the socket.
    pub capacity: usize,
    /// The hub was told that the socket is full.
    pub is_full: bool,
    pub is_stalled: bool,
    /// Answers no ping.
    pub is_mute: bool,
    /// We sent a close frame or a violation: nothing is promised any more.
    pub is_closing: bool,
    /// It said that it is done, and nothing stood against that.
    pub is_done: bool,
    pub stage: Stage,
    inbox: Vec<u8>,
    pub close_code: Option<u16>,
    pings: VecDeque<Vec<u8>>,
    /// The requests completed by the last write, for the trace.
    asked: Vec<Request>,
    next_id: u64,
    group: u32,
    /// Channel and payload of the last publish, to be repeated.
    last_publish: Option<(String, String, bool)>,
    /// The hub has all of our HTTP head.
    pub is_upgraded: bool,
    /// The last time the hub got bytes of us, and the longest time without any.
    pub fed_at: Duration,
    pub silence: Duration,
    /// The last time the socket took bytes, and the longest time without any.
    pub moved_at: Duration,
    pub standstill: Duration,
    pub is_shut_down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Head,
    Frames,
    Closed,
}

/// The meaning of a piece once the hub has all of it.
enum Whole {
    Head,
    Request(Request),
    Control,
    /// Our close frame, or bytes that no client may send: from the first byte on nothing is
    /// promised.
    Close,
}

impl Client {
    pub fn new(number: u32, capacity_max: usize, now: Duration, random: &mut Random) -> Self {
        Self {
            number,
            view: View::new(number),
            stream: None,
            to_hub: VecDeque::from([(upgrade_head(), Whole::Head)]),
            left_bytes: 0,
            part_began: None,
            part_time: Duration::ZERO,
            socket: Vec::new(),
            capacity: 1 + random.below(capacity_max),
            is_full: false,
            is_stalled: false,
            is_mute: random.percent(10),
            is_closing: false,
            is_done: false,
            stage: Stage::Head,
            inbox: Vec::new(),
            close_code: None,
            pings: VecDeque::new(),
            asked: Vec::new(),
            next_id: 0,
            group: 0,
            last_publish: None,
            is_upgraded: false,
            fed_at: now,
            silence: Duration::ZERO,
            moved_at: now,
            standstill: Duration::ZERO,
            is_shut_down: false,
        }
    }

    /// From now on one that reads events.
    pub fn read_events(&mut self, stream: StreamView) {
        self.to_hub = VecDeque::from([(stream.head(), Whole::Head)]);
        self.stream = Some(stream);
    }

    /// Sends a request, likely or not.
    pub fn ask(
        &mut self,
        channels: &[&str],
        publishing: usize,
        positions: &[Since],
        random: &mut Random,
    ) {
        self.next_id += 1;
        let id = self.next_id;
        let echoed = if random.percent(50) {
            format!("{id}")
        } else {
            format!("\"{id}\"")
        };
        let channel = random.pick(channels);
        let name = Value::from(channel).to_string();
        if random.percent(publishing) {
            self.publish(channel, id, random);
            return;
        }
        match random.below(20) {
            0..=6 => self.request(
                &format!(r#"{{"type":"subscribe","channel":{name},"id":{echoed}}}"#),
                Request::Subscribe(channel.to_owned(), id, None),
            ),
            7..=9 if !positions.is_empty() => {
                let mut since = positions[random.below(positions.len())].clone();
                match random.below(10) {
                    0 => since.seq += 1,
                    1 => since.seq = since.seq.saturating_sub(1),
                    2 => since.channel = channel.to_owned(),
                    3 => since.epoch.push('0'),
                    _ => {}
                }
                self.resume(since);
            }
            7..=9 => {}
            10..=15 => self.request(
                &format!(r#"{{"type":"unsubscribe","channel":{name},"id":{echoed}}}"#),
                Request::Unsubscribe(channel.to_owned(), id),
            ),
            16 => self.request(
                &format!(r#"{{"type":"ping","id":{echoed}}}"#),
                Request::Simple("pong", id),
            ),
            17 => self.request(
                &format!(r#"{{"type":"subscribe","channel":"","id":{echoed}}}"#),
                Request::Simple("bad_channel", id),
            ),
            18 => self.request(
                &format!(r#"{{"type":"sing","id":{echoed}}}"#),
                Request::Simple("unknown_type", id),
            ),
            _ => {
                let payload = vec![b'p'; random.below(126)];
                self.pings.push_back(payload.clone());
                self.to_hub
                    .push_back((frame(0x89, &payload), Whole::Control));
            }
        }
    }

    /// Subscribes from that position.
    pub fn resume(&mut self, since: Since) {
        self.next_id += 1;
        let id = self.next_id;
        let Since {
            channel,
            epoch,
            seq,
        } = &since;
        let name = Value::from(channel.as_str());
        let text = format!(
            r#"{{"type":"subscribe","channel":{name},"id":{id},"since":{{"epoch":"{epoch}","seq":{seq}}}}}"#
        );
        let request = Request::Subscribe(channel.clone(), id, Some(since.clone()));
        self.request(&text, request);
    }

    fn publish(&mut self, channel: &str, id: u64, random: &mut Random) {
        let again = self.last_publish.take().filter(|_| random.percent(40));
        let publish = again.unwrap_or_else(|| {
            self.group += 1;
            let fill = "x".repeat(random.below(3) * random.below(600));
            let payload = format!("c{}.{}-{fill}", self.number, self.group);
            (channel.to_owned(), payload, random.percent(80))
        });
        let (channel, payload, with_id) = publish.clone();
        self.last_publish = Some(publish);
        let name = Value::from(channel.as_str());
        let echoed = if with_id {
            format!(r#","id":{id}"#)
        } else {
            String::new()
        };
        self.request(
            &format!(r#"{{"type":"notify","channel":{name},"payload":"{payload}"{echoed}}}"#),
            Request::Notify(channel, payload, with_id.then_some(id)),
        );
    }

    fn request(&mut self, text: &str, request: Request) {
        self.to_hub
            .push_back((frame(0x81, text.as_bytes()), Whole::Request(request)));
    }

    /// Sends a close frame, or one that no client may send.
    pub fn close(&mut self, properly: bool) {
        let mut last = frame(0x88, &1000_u16.to_be_bytes());
        if !properly {
            last[1] &= 0x7f;
        }
        self.to_hub.push_back((last, Whole::Close));
    }

    /// Bytes not yet given to the hub.
    pub fn waiting_bytes(&self) -> usize {
        let bytes: usize = self.to_hub.iter().map(|(bytes, _)| bytes.len()).sum();
        bytes - self.left_bytes
    }

    /// The next so many of them.
    pub fn copy_bytes(&self, bytes: usize) -> Vec<u8> {
        let all = self.to_hub.iter().flat_map(|(piece, _)| piece);
        all.skip(self.left_bytes).take(bytes).copied().collect()
    }

    /// So many bytes more were given to the hub, and it has not worked off the last `left`.
    pub fn handle_parsed(&mut self, given: usize, left: usize, now: Duration, truth: &mut Truth) {
        let mut bytes = self.left_bytes + given - left;
        self.left_bytes = left;
        if let Some(began) = self.part_began {
            self.part_time = self.part_time.max(now - began);
        }
        while bytes > 0 {
            let Some((piece, _)) = self.to_hub.front_mut() else {
                break;
            };
            let part = bytes.min(piece.len());
            piece.drain(..part);
            bytes -= part;
            let is_whole = piece.is_empty();
            self.part_began = match self.part_began {
                _ if is_whole => None,
                None => Some(now),
                began => began,
            };
            if let Some((_, Whole::Close)) = self.to_hub.front() {
                self.is_closing = true;
            }
            if is_whole {
                match self.to_hub.pop_front() {
                    Some((_, Whole::Head)) => {
                        self.is_upgraded = true;
                        if let Some(stream) = &mut self.stream {
                            stream.ask(self.number, truth);
                        }
                    }
                    Some((_, Whole::Request(request))) if !self.is_closing => {
                        self.view.ask(&request, truth);
                        self.asked.push(request);
                    }
                    _ => {}
                }
            }
        }
    }

    pub fn take_asked(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.asked)
    }

    /// Reads from the socket.
    pub fn read(&mut self, bytes: usize, truth: &mut Truth, trace: &mut Vec<String>, keep: bool) {
        let bytes: Vec<u8> = self.socket.drain(..bytes.min(self.socket.len())).collect();
        assert!(
            bytes.is_empty() || self.stage != Stage::Closed,
            "nothing follows a close frame"
        );
        self.inbox.extend_from_slice(&bytes);
        if self.stage == Stage::Head {
            self.take_head();
        }
        while self.stage == Stage::Frames
            && match self.stream {
                None => self.take_frame(truth, trace, keep),
                Some(_) => self.take_event(truth, trace, keep),
            }
        {}
        assert!(
            self.stage != Stage::Closed || self.inbox.is_empty(),
            "nothing follows a close frame"
        );
    }

    /// The server sends nothing more, and all of its bytes were read.
    pub fn check_end(&self) {
        assert!(self.inbox.is_empty(), "the end comes at a frame boundary");
        assert_eq!(self.stage, Stage::Closed, "the end follows a close frame");
    }

    fn take_head(&mut self) {
        let end = self.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else { return };
        let head: Vec<u8> = self.inbox.drain(..end + 4).collect();
        let head = std::str::from_utf8(&head).expect("a head is ASCII");
        if self.stream.is_some() {
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(head.contains("text/event-stream"), "{head}");
        } else {
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        }
        self.stage = Stage::Frames;
    }

    /// Takes an event of the server, if one is complete.
    fn take_event(&mut self, truth: &mut Truth, trace: &mut Vec<String>, keep: bool) -> bool {
        let end = self.inbox.windows(2).position(|bytes| bytes == b"\n\n");
        let Some(end) = end else { return false };
        let block: Vec<u8> = self.inbox.drain(..end + 2).take(end).collect();
        let block = String::from_utf8(block).expect("events are UTF-8");
        if keep {
            let text: String = block.replace('\n', " ").chars().take(200).collect();
            trace.push(format!("  c{} reads {text}", self.number));
        }
        let stream = self.stream.as_mut().expect("it reads events");
        let (mut name, mut id, mut data) = ("", None, None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", value)) => name = value,
                Some(("id", value)) => id = Some(value),
                Some(("data", value)) => data = Some(value),
                Some(("retry", _)) => stream.hear_retry(),
                _ => assert_eq!(line, ":", "no such line"),
            }
        }
        let Some(data) = data else { return true };
        let data: Value = serde_json::from_str(data).expect("data is JSON");
        match data["code"].as_u64() {
            Some(code) if name == "status" => {
                let code = u16::try_from(code).expect("a close code");
                stream.hear_end(code, truth);
                truth.count(&format!("stream end {code}"));
                self.close_code = Some(code);
                self.stage = Stage::Closed;
            }
            _ => stream.hear(name, id, &data, truth),
        }
        true
    }

    /// What is wrong once all is quiet, if anything.
    pub fn fault(&self, truth: &Truth) -> Option<String> {
        match &self.stream {
            Some(stream) => stream.fault(truth),
            None => self.view.fault(truth),
        }
    }

    /// The channels that it hears, and did not ask to leave.
    pub fn subscribed(&self) -> Vec<String> {
        match &self.stream {
            Some(stream) => stream.subscribed().map(str::to_owned).collect(),
            None => self.view.subscribed().map(str::to_owned).collect(),
        }
    }

    /// Takes a frame of the server, if one is complete.
    fn take_frame(&mut self, truth: &mut Truth, trace: &mut Vec<String>, keep: bool) -> bool {
        let Some((first, payload)) = take_frame(&mut self.inbox) else {
            return false;
        };
        match first {
            0x81 => {
                let message: Value = serde_json::from_slice(&payload).expect("a message is JSON");
                if keep {
                    let text = String::from_utf8_lossy(&payload[..payload.len().min(160)]);
                    trace.push(format!("  c{} hears {text}", self.number));
                }
                self.view.hear(&message, truth);
            }
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                if keep {
                    trace.push(format!("  c{} hears close {code}", self.number));
                }
                truth.count(&format!("close {code}"));
                self.close_code = Some(code);
                self.stage = Stage::Closed;
            }
            0x89 => {
                if !self.is_mute {
                    self.to_hub
                        .push_back((frame(0x8a, &payload), Whole::Control));
                }
            }
            _ => {
                let pinged = self.pings.pop_front();
                assert_eq!(pinged.as_deref(), Some(&*payload), "a pong of a ping");
            }
        }
        true
    }
}
