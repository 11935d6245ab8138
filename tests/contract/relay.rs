//! A stretch of network between the bridge and PostgreSQL that can be harmed.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// Relays connections, each in a thread, until told otherwise.
pub struct Relay {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Of the connections that are open now; one of them counts for both ways.
    fate: Fate,
    /// The number of calls of [`Relay::harm`]: an older connection shares its fate.
    generation: usize,
    /// No connection is let through.
    is_shut: bool,
    /// The number of refused connections.
    refused: usize,
    /// Both sockets of connections in the black hole.
    swallowed: Vec<[TcpStream; 2]>,
}

/// The fate of connections.
#[derive(Clone, Copy, Default)]
pub enum Fate {
    /// Both ends are closed in order.
    #[default]
    Close,
    /// Both ends get a reset.
    Reset,
    /// Nothing is forwarded any more, either way, and neither end is told.
    BlackHole,
}

impl Relay {
    /// In front of the server on `target`.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let relay = Self {
            port,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for front in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if state.is_shut {
                    state.refused += 1;
                    continue;
                }
                let generation = state.generation;
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    if let Ok(back) = TcpStream::connect(("127.0.0.1", target)) {
                        carry([front, back], generation, &shared);
                    }
                });
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Harms the connections open now; later ones are forwarded as usual.
    pub fn harm(&self, fate: Fate) {
        let mut state = self.state();
        state.fate = fate;
        state.generation += 1;
    }

    /// Closes the connections open now, and refuses new ones until [`Self::open`].
    pub fn shut(&self) {
        self.state().is_shut = true;
        self.harm(Fate::Close);
    }

    pub fn open(&self) {
        self.state().is_shut = false;
    }

    /// The number of refused connections.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

/// Forwards bytes both ways until an end is reached or harm is done.
fn carry(mut streams: [TcpStream; 2], generation: usize, shared: &Mutex<Shared>) {
    for stream in &streams {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(INTERVAL)).unwrap();
    }
    loop {
        let [front, back] = &mut streams;
        if !(copy(front, back, generation, shared) && copy(back, front, generation, shared)) {
            break;
        }
    }
    let mut state = shared.lock().unwrap();
    if state.generation == generation {
        return;
    }
    match state.fate {
        Fate::Close => {}
        Fate::Reset => {
            for stream in &streams {
                let socket = socket2::SockRef::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        Fate::BlackHole => state.swallowed.push(streams),
    }
}

/// Forwards the bytes that have arrived; returns whether to continue.
fn copy(
    from: &mut TcpStream,
    to: &mut TcpStream,
    generation: usize,
    shared: &Mutex<Shared>,
) -> bool {
    let mut buffer = [0; 16_384];
    let read = from.read(&mut buffer);
    // Bytes that arrived after the harm are lost with the rest.
    if shared.lock().unwrap().generation != generation {
        return false;
    }
    match read {
        Ok(0) => false,
        Ok(bytes) => to.write_all(&buffer[..bytes]).is_ok(),
        Err(error) => matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
        ),
    }
}

/// Between two looks at either side.
const INTERVAL: Duration = Duration::from_millis(2);
