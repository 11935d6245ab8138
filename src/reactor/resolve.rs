//! What takes its time, on a thread of its own: settings in files, names, certificates, keys.
//!
//! A role has one such thread at a time, whatever hangs: what is asked meanwhile waits for it, and
//! the latest of that counts. Knows one attempt; which server, and when again, is the backend's.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that resolves names, off the reactor"
)]

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use mio::Waker;

use super::tls::{Connector, TlsError};
use crate::{
    backend::Encryption,
    pg::{
        config::{Config, ConfigError, ConnectionString, Host, Server, Tls},
        session::{KeyDerivation, SaltedPassword},
    },
    surroundings,
};

/// What one session wants to know.
#[derive(Debug)]
pub(super) enum Question {
    /// What the connection string means now.
    Settings(ConnectionString),
    /// Where a server is, and what TLS with it takes.
    Server {
        server: Server,
        tls: Tls,
        encryption: Encryption,
    },
    /// What SCRAM makes of a password.
    Key(KeyDerivation),
}

#[derive(Debug)]
pub(super) enum Answer {
    Settings(Result<Box<Config>, ConfigError>),
    Server(Result<Resolved, Unresolved>),
    Key(SaltedPassword),
    /// There is no answer, for want of a thread.
    None(io::Error),
}

/// What is needed to connect to one server.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) addresses: Vec<SocketAddr>,
    /// Where TLS is wanted.
    pub(super) connector: Option<Connector>,
}

/// Why it is not known.
#[derive(Debug)]
pub(super) enum Unresolved {
    Name(io::Error),
    Tls(TlsError),
}

/// The questions of one role.
///
/// After [`Self::ask`] the waker is woken once [`Self::poll`] has something; [`Self::abandon`]
/// takes the question back.
#[derive(Debug)]
pub(super) struct Resolver {
    waker: Arc<Waker>,
    thread: Option<Thread>,
    /// What is asked while a thread still is at something else; `None` without a thread.
    next: Option<Question>,
}

#[derive(Debug)]
struct Thread {
    /// Empty if it was abandoned in time.
    answer: mpsc::Receiver<Option<Answer>>,
    is_wanted: Arc<AtomicBool>,
}

impl Resolver {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            thread: None,
            next: None,
        }
    }

    /// Takes the place of what was asked before.
    pub(super) fn ask(&mut self, question: Question) -> io::Result<()> {
        self.abandon();
        if self.thread.is_some() {
            self.next = Some(question);
        } else {
            self.thread = Some(Thread::start(question, Arc::clone(&self.waker))?);
        }
        Ok(())
    }

    /// Nobody wants to know any more; the thread ends when it can.
    pub(super) fn abandon(&mut self) {
        self.next = None;
        if let Some(thread) = &self.thread {
            thread.is_wanted.store(false, Ordering::Relaxed);
        }
    }

    /// The answer, once it is there.
    pub(super) fn poll(&mut self) -> Option<Answer> {
        let thread = self.thread.as_ref()?;
        let answer = match thread.answer.try_recv() {
            Ok(answer) => answer,
            Err(mpsc::TryRecvError::Empty) => return None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Answer::None(io::Error::other(
                "the resolver's thread ended",
            ))),
        };
        let is_wanted = thread.is_wanted.load(Ordering::Relaxed);
        self.thread = None;
        if let Some(question) = self.next.take() {
            return self.ask(question).err().map(Answer::None);
        }
        answer.filter(|_| is_wanted)
    }
}

impl Thread {
    fn start(question: Question, waker: Arc<Waker>) -> io::Result<Self> {
        let (sender, answer) = mpsc::sync_channel(1);
        let is_wanted = Arc::new(AtomicBool::new(true));
        let wanted = Arc::clone(&is_wanted);
        thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || {
                let answer = question.answer(|| wanted.load(Ordering::Relaxed));
                // Where the whole reactor is gone there is nobody to wake.
                if sender.send(answer).is_ok() {
                    let _woken = waker.wake();
                }
            })?;
        Ok(Self { answer, is_wanted })
    }
}

impl Question {
    /// Blocks. `None` once the answer is not wanted any more, where that can be told meanwhile.
    fn answer(&self, is_wanted: impl Fn() -> bool) -> Option<Answer> {
        match self {
            Self::Settings(string) => {
                let config = surroundings::resolve(string).map(Box::new);
                Some(Answer::Settings(config))
            }
            Self::Server {
                server,
                tls,
                encryption,
            } => Some(Answer::Server(resolve(server, tls, *encryption))),
            Self::Key(derivation) => derivation.run(is_wanted).map(Answer::Key),
        }
    }
}

fn resolve(server: &Server, tls: &Tls, encryption: Encryption) -> Result<Resolved, Unresolved> {
    let addresses = match (&server.address, &server.host) {
        // The system knows the number of a zone.
        (Some(address), _) => (address.to_string().as_str(), server.port)
            .to_socket_addrs()
            .map_err(Unresolved::Name)?
            .collect(),
        (None, Host::Tcp(host)) => (host.as_str(), server.port)
            .to_socket_addrs()
            .map_err(Unresolved::Name)?
            .collect(),
        (None, Host::Unix(_)) => Vec::new(),
    };
    let connector = match encryption {
        Encryption::None => None,
        Encryption::Offered | Encryption::Required => {
            Some(Connector::new(tls, server).map_err(Unresolved::Tls)?)
        }
    };
    Ok(Resolved {
        addresses,
        connector,
    })
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use std::{fs, process, time::Duration};

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::pg::config::Config;

    fn server(text: &str) -> Question {
        let config = Config::parse(text, &|_| None).unwrap();
        Question::Server {
            server: config.servers[0].clone(),
            tls: config.tls,
            encryption: Encryption::Required,
        }
    }

    /// The first look-up reads a pipe that nobody writes to.
    #[test]
    fn a_lookup_that_hangs_keeps_one_thread_and_what_is_asked_last_comes_next() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut resolver = Resolver::new(waker);
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let path = pipe.display();
        let hanging = format!("host=127.0.0.1 user=u sslmode=require sslrootcert={path}");
        resolver.ask(server(&hanging)).unwrap();
        resolver.abandon();
        for port in 1..=3 {
            let question = format!("host=127.0.0.{port} user=u sslmode=require");
            resolver.ask(server(&question)).unwrap();
            assert!(resolver.poll().is_none());
        }
        // Opening its other end lets the first one go.
        drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        let mut events = Events::with_capacity(1);
        let answer = loop {
            poll.poll(&mut events, Some(Duration::from_secs(10)))
                .unwrap();
            assert!(!events.is_empty(), "there is an answer in time");
            if let Some(answer) = resolver.poll() {
                break answer;
            }
        };
        let Answer::Server(Ok(resolved)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(resolved.addresses, ["127.0.0.3:5432".parse().unwrap()]);
        assert!(resolver.poll().is_none());
    }
}
