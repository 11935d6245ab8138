//! What a parent and a worker tell each other by the pipe between them: orders one way, reports the
//! other.
//!
//! A message is its length in decimal, a line feed, and so many bytes: a word, and what belongs to
//! it. A word that is not known is passed over, so that a parent may have workers of a later version.
//! Owns the form of messages; carries none out.

use std::{fmt, str, time::Duration};

use crate::ticket_keys::TicketKeys;

/// What the parent wants of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first one: who the worker is, and how many files follow. None follow, and the worker reads
    /// them and [reports](Report::File) them, where there is no number.
    Begin(Place, Option<usize>),
    /// One of them.
    File(KeptFile),
    /// Report readiness and metrics.
    Ask,
    /// Make and take tickets of TLS by these keys.
    TicketKeys(TicketKeys),
    /// Accept clients from now on.
    Accept,
    /// Read the files of tokens and keys again.
    Reload,
    /// Close all clients, and end.
    Stop,
    /// The same over this time, in which further clients are refused in words.
    Drain(Duration),
    /// The same over this time, while a successor accepts at the same socket.
    Retire(Duration),
}

/// Which worker of which group one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1 to `count`.
    pub(crate) number: usize,
    /// How many workers there are.
    pub(crate) count: usize,
    /// The name and the secret of the group that only these workers form; `None` where they belong
    /// to one that has been configured.
    pub(crate) group: Option<(String, Vec<u8>)>,
}

/// Without the secret.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of {}", self.number, self.count)
    }
}

/// What a worker says when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// What `/readyz` says: ready, or why not.
    Readiness(Result<(), String>),
    /// The page of metrics; it comes last.
    Metrics(String),
    /// A file that the worker read for its options, before the first answer.
    File(KeptFile),
}

impl Order {
    /// Appends the order as a message.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Begin(place, files) => {
                let Place {
                    number,
                    count,
                    group,
                } = place;
                let group = group.as_ref();
                let group = group.map(|(name, key)| format!(" {name} {}", hexadecimal(key)));
                let files = files.map(|count| format!(" {count}"));
                let [group, files] = [group, files].map(Option::unwrap_or_default);
                format!("begin {number} {count}{group}{files}")
            }
            Self::File(file) => file.text_of_message(),
            Self::Ask => "ask".to_owned(),
            Self::TicketKeys(keys) => {
                let [next, current, last] = keys.all().map(|key| hexadecimal(key));
                format!("ticket-keys {next} {current} {last}")
            }
            Self::Accept => "accept".to_owned(),
            Self::Reload => "reload".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Drain(span) => format!("drain {}", span.as_millis()),
            Self::Retire(span) => format!("retire {}", span.as_millis()),
        };
        append(&text, out);
    }

    /// Reads the text of a message; `None` if it says nothing that is known here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let span = || rest.parse().ok().map(Duration::from_millis);
        Some(match word {
            "begin" => {
                let (place, files) = Place::parse(rest)?;
                Self::Begin(place, files)
            }
            "file" => Self::File(KeptFile::parse(rest)?),
            "ask" => Self::Ask,
            "ticket-keys" => {
                let keys = rest
                    .split(' ')
                    .map(|key| from_hexadecimal(key)?.try_into().ok());
                let keys: Vec<_> = keys.collect::<Option<_>>()?;
                Self::TicketKeys(TicketKeys::received(keys.try_into().ok()?))
            }
            "accept" => Self::Accept,
            "reload" => Self::Reload,
            "stop" => Self::Stop,
            "drain" => Self::Drain(span()?),
            "retire" => Self::Retire(span()?),
            _ => return None,
        })
    }
}

impl Place {
    /// With the number of files, which earlier versions neither said nor read: they pass over a word
    /// that is one too many.
    fn parse(text: &str) -> Option<(Self, Option<usize>)> {
        let mut words = text.split(' ');
        let number = words.next()?.parse().ok()?;
        let count = words.next()?.parse().ok()?;
        let (group, files) = match *words.collect::<Vec<_>>() {
            [] => (None, None),
            [files] => (None, Some(files)),
            [name, key, ref rest @ ..] => {
                let group = (name.to_owned(), from_hexadecimal(key)?);
                (Some(group), rest.first().copied())
            }
        };
        let files = files.map(str::parse).transpose().ok()?;
        let place = Self {
            number,
            count,
            group,
        };
        (1..=count).contains(&number).then_some((place, files))
    }
}

/// A file in which options stand, or a secret of one: as it was when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// As it was named.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Whether anybody on this machine could read it.
    pub is_public: bool,
}

/// Without the text, which may be a secret.
impl fmt::Debug for KeptFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {:?}", self.path)
    }
}

impl KeptFile {
    /// The length of the path comes first, since both may have any letter.
    fn text_of_message(&self) -> String {
        let Self {
            path,
            text,
            is_public,
        } = self;
        format!("file {} {} {path}{text}", u8::from(*is_public), path.len())
    }

    fn parse(text: &str) -> Option<Self> {
        let (is_public, rest) = text.split_once(' ')?;
        let (length, rest) = rest.split_once(' ')?;
        let (path, text) = rest.split_at_checked(length.parse().ok()?)?;
        Some(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            is_public: is_public == "1",
        })
    }
}

impl Report {
    /// Appends the report as a message.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Readiness(Ok(())) => append("ready", out),
            Self::Readiness(Err(reason)) => append(&format!("unready {reason}"), out),
            Self::Metrics(page) => append(&format!("metrics {page}"), out),
            Self::File(file) => append(&file.text_of_message(), out),
        }
    }

    /// Reads the text of a message; `None` if it says nothing that is known here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match word {
            "ready" => Self::Readiness(Ok(())),
            "unready" => Self::Readiness(Err(rest.to_owned())),
            "metrics" => Self::Metrics(rest.to_owned()),
            "file" => Self::File(KeptFile::parse(rest)?),
            _ => return None,
        })
    }
}

/// The text of the message at the start of `input`, and how long the message is: `None` if more bytes
/// are needed.
///
/// # Errors
///
/// No further byte can make a message of it.
pub(crate) fn split(input: &[u8]) -> Result<Option<(&str, usize)>, Malformed> {
    let Some(line_bytes) = input.iter().position(|&byte| byte == b'\n') else {
        return if input.len() > LENGTH_DIGITS_MAX {
            Err(Malformed)
        } else {
            Ok(None)
        };
    };
    let length = str::from_utf8(&input[..line_bytes]).map_err(|_| Malformed)?;
    let length: usize = length.parse().map_err(|_| Malformed)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(Malformed);
    }
    let message = line_bytes + 1..line_bytes + 1 + length;
    let Some(text) = input.get(message.clone()) else {
        return Ok(None);
    };
    let text = str::from_utf8(text).map_err(|_| Malformed)?;
    Ok(Some((text, message.end)))
}

/// These bytes are no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

fn append(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}\n", text.len()).as_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The variable by which a parent tells a process that it is a worker.
pub(crate) const VARIABLE: &str = "ALLE_WORKER";
/// More than a page of metrics has, or the longest file of options with its path.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
const LENGTH_DIGITS_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> KeptFile {
        KeptFile {
            path: "/a µ/b".to_owned(),
            text: "postgres-url = '255 ff'\n".to_owned(),
            is_public: true,
        }
    }

    fn orders() -> Vec<Order> {
        let place = |group| Place {
            number: 2,
            count: 3,
            group,
        };
        let group = Some(("w1".to_owned(), vec![0, 255, 16]));
        vec![
            Order::Begin(place(None), None),
            Order::Begin(place(None), Some(2)),
            Order::Begin(place(group.clone()), None),
            Order::Begin(place(group), Some(0)),
            Order::File(file()),
            Order::Ask,
            Order::TicketKeys(TicketKeys::received([[1; 32], [255; 32], [16; 32]])),
            Order::Accept,
            Order::Reload,
            Order::Stop,
            Order::Drain(Duration::from_millis(1_500)),
            Order::Retire(Duration::ZERO),
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written_however_it_is_cut() {
        let mut bytes = Vec::new();
        orders().iter().for_each(|it| it.append_to(&mut bytes));
        let mut read = Vec::new();
        let mut input = Vec::new();
        for byte in bytes {
            input.push(byte);
            if let Some((text, length)) = split(&input).unwrap() {
                read.push(Order::parse(text).unwrap());
                input.drain(..length);
            }
        }
        assert_eq!(read, orders());
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for report in [
            Report::Readiness(Ok(())),
            Report::Readiness(Err("PostgreSQL is not connected".to_owned())),
            Report::Metrics("# HELP a b\na 1\n".to_owned()),
            Report::File(file()),
        ] {
            let mut bytes = Vec::new();
            report.append_to(&mut bytes);
            let (text, length) = split(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len());
            assert_eq!(Report::parse(text), Some(report));
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        assert_eq!(Order::parse("sing loudly"), None);
        assert_eq!(Order::parse("begin 4 3"), None);
        assert_eq!(Order::parse("begin 0 3"), None);
        assert_eq!(Order::parse("ticket-keys 00 11 22"), None);
        assert_eq!(Order::parse("begin 1 2 many"), None);
        assert_eq!(Order::parse("file 0 9 /a"), None);
        assert_eq!(Order::parse("file 0 1 µ"), None);
        assert_eq!(Report::parse("sung"), None);
    }

    #[test]
    fn a_message_has_two_mebibytes_at_most() {
        let of = |length: usize| [format!("{length}\n").as_bytes(), &vec![b'x'; length]].concat();
        let longest = of(MESSAGE_BYTES_MAX - 1);
        assert!(split(&longest).unwrap().is_some());
        let longest = of(MESSAGE_BYTES_MAX);
        assert!(split(&longest).unwrap().is_some());
        assert_eq!(split(&of(MESSAGE_BYTES_MAX + 1)), Err(Malformed));
        assert_eq!(split(b"12345678"), Err(Malformed));
        assert_eq!(split(b"-1\n"), Err(Malformed));
        assert_eq!(split(b"x\n"), Err(Malformed));
        assert_eq!(split(b"1\n\xff"), Err(Malformed));
        assert_eq!(split(b"1234567"), Ok(None));
    }

    #[test]
    fn an_order_shows_no_secret() {
        for order in orders() {
            let order = format!("{order:?}");
            assert!(!order.contains("255") && !order.contains("ff"), "{order}");
        }
    }
}
