//! Two TCP proxies on one thread, which cut, delay and swallow on order: one between clients and
//! the bridge, one between the bridge and PostgreSQL.
//!
//! Knows bytes and sockets, and nothing of their meaning.

#[path = "proxy/pair.rs"]
mod pair;

use std::{
    io,
    net::SocketAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpListener, net::TcpStream};
use slab::Slab;

use self::pair::Pair;
use crate::random::Random;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Clients,
    Postgres,
}

/// An order for the connections of one side.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Resets this many of a hundred; bytes held are lost.
    Cut { percent: usize },
    /// The same after some more bytes were forwarded: mostly in the middle of a message.
    CutMidMessage { percent: usize },
    /// Swallows everything of this many of a hundred, and of all new ones with 100.
    BlackHole { percent: usize },
    /// All of them, and new ones.
    Delay(Duration),
    /// New ones are reset.
    Refuse,
    /// None of the above any longer, for the remaining ones. Bytes held are forwarded.
    Mend,
}

/// Stops with its process, or when dropped.
pub struct Proxy {
    pub clients: SocketAddr,
    pub postgres: SocketAddr,
    orders: Option<Sender<(Side, Order)>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Nobody is forwarded to the bridge before [`bridge`](Self::set_bridge) says where it is.
    pub fn start(
        postgres: SocketAddr,
        bridge: Receiver<SocketAddr>,
        seed: u64,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listeners = [listen()?, listen()?];
        for (token, listener) in listeners.iter_mut().enumerate() {
            let registry = poll.registry();
            registry.register(listener, Token(token), Interest::READABLE)?;
        }
        let [clients, of_postgres] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (orders, receiver) = channel();
        let turns = Turns {
            poll,
            listeners,
            upstream: [None, Some(postgres)],
            bridge,
            orders: receiver,
            pairs: Slab::new(),
            habits: [Habit::default(); 2],
            random: Random::new(seed),
        };
        let thread = thread::spawn(move || turns.run());
        Ok(Self {
            clients,
            postgres: of_postgres,
            orders: Some(orders),
            waker,
            thread: Some(thread),
        })
    }

    pub fn order(&self, side: Side, order: Order) {
        let orders = self.orders.as_ref().expect("not dropped");
        orders.send((side, order)).expect("the proxy runs");
        self.waker.wake().expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.waker.wake();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The fate of new connections.
#[derive(Clone, Copy, Default)]
struct Habit {
    delay: Duration,
    swallows: bool,
    refuses: bool,
}

struct Turns {
    poll: Poll,
    listeners: [TcpListener; 2],
    upstream: [Option<SocketAddr>; 2],
    bridge: Receiver<SocketAddr>,
    orders: Receiver<(Side, Order)>,
    pairs: Slab<Pair>,
    habits: [Habit; 2],
    random: Random,
}

impl Turns {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let due = self.pairs.iter().filter_map(|(_, pair)| pair.due()).min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()) + ROUND_UP);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.expect("polling works"),
            }
            for event in &events {
                match event.token() {
                    Token(side @ 0..=1) => self.accept(side),
                    WAKER => {
                        if !self.obey() {
                            return;
                        }
                    }
                    Token(end) => self.pump((end - 2) / 2),
                }
            }
            let now = Instant::now();
            let is_due = |pair: &Pair| pair.due().is_some_and(|due| due <= now);
            let due: Vec<_> = self.pairs.iter().filter(|(_, pair)| is_due(pair)).collect();
            let due: Vec<_> = due.into_iter().map(|(key, _)| key).collect();
            due.into_iter().for_each(|key| self.pump(key));
        }
    }

    fn accept(&mut self, side: usize) {
        while let Ok((near, _)) = self.listeners[side].accept() {
            let habit = self.habits[side];
            if let Ok(bridge) = self.bridge.try_recv() {
                self.upstream[0] = Some(bridge);
            }
            let far = self.upstream[side].filter(|_| !habit.refuses);
            let Some(Ok(far)) = far.map(TcpStream::connect) else {
                pair::reset(&near);
                continue;
            };
            let _ = near.set_nodelay(true);
            let _ = far.set_nodelay(true);
            let entry = self.pairs.vacant_entry();
            let key = entry.key();
            let pair = entry.insert(Pair::new(side, near, far));
            pair.delay = habit.delay;
            pair.is_black_hole = habit.swallows;
            let both = Interest::READABLE | Interest::WRITABLE;
            for (end, stream) in pair.ends.iter_mut().enumerate() {
                let token = Token(2 + 2 * key + end);
                let registered = self.poll.registry().register(stream, token, both);
                registered.expect("a fresh socket can be registered");
            }
        }
    }

    /// False when the sender of orders is gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok((side, order)) => self.carry_out(side as usize, order),
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn carry_out(&mut self, side: usize, order: Order) {
        let habit = &mut self.habits[side];
        match order {
            Order::BlackHole { percent } => habit.swallows = percent >= 100,
            Order::Delay(delay) => habit.delay = delay,
            Order::Refuse => habit.refuses = true,
            Order::Mend => *habit = Habit::default(),
            Order::Cut { .. } | Order::CutMidMessage { .. } => {}
        }
        let of_side = self.pairs.iter().filter(|(_, pair)| pair.side == side);
        let keys: Vec<_> = of_side.map(|(key, _)| key).collect();
        for key in keys {
            let pair = &mut self.pairs[key];
            match order {
                Order::Cut { percent } if self.random.percent(percent) => {
                    self.pairs.remove(key).reset();
                }
                Order::CutMidMessage { percent } if self.random.percent(percent) => {
                    pair.bytes_left = Some(1 + self.random.below(MID_MESSAGE_BYTES));
                }
                Order::BlackHole { percent } => {
                    pair.is_black_hole = self.random.percent(percent);
                }
                Order::Delay(delay) => pair.delay = delay,
                Order::Refuse => self.pairs.remove(key).reset(),
                Order::Mend => {
                    pair.mend();
                    self.pump(key);
                }
                Order::Cut { .. } | Order::CutMidMessage { .. } => {}
            }
        }
    }

    fn pump(&mut self, key: usize) {
        // An event may be of a connection that is gone.
        let Some(pair) = self.pairs.get_mut(key) else {
            return;
        };
        match pair.pump(Instant::now()) {
            Ok(false) => {}
            Ok(true) => drop(self.pairs.remove(key)),
            Err(_) => self.pairs.remove(key).reset(),
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
}

const WAKER: Token = Token(usize::MAX);
/// mio waits whole milliseconds.
const ROUND_UP: Duration = Duration::from_millis(1);
/// Some notifications.
const MID_MESSAGE_BYTES: usize = 700;
