//! The sockets of one session, between addresses that answer in different ways.

#![expect(
    clippy::disallowed_types,
    reason = "the servers at the other end are sockets, too"
)]

use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

use mio::{Events, Poll};

use super::*;
use crate::pg::config::Config;

const ROLE: Role = Role::Publishing;

/// A listener of which the queue is full: the kernel drops each further SYN.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&loopback.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let queue = std::iter::from_fn(connect).collect();
    (listener, queue)
}

/// A name has a dead address, a mute one and a sound one, in this order.
#[test]
fn the_sound_one_of_three_addresses_is_found_and_a_session_begun_there() {
    let (hole, _queue) = black_hole();
    let [mute, sound] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let all = [&hole, &mute, &sound].map(|it| it.local_addr().unwrap());
    let url = "postgres://u@db?sslmode=disable&connect_timeout=2";
    let config = Config::parse(url, &|_| None).unwrap();
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token()).unwrap());
    let mut sockets = BackendSockets::new(waker);
    let began = Instant::now();
    let mut backend = Backend::new(config.clone(), 7, began);
    let mut events = Events::with_capacity(8);
    let mut servers = Vec::new();
    sound.set_nonblocking(true).unwrap();
    let mut accepted = loop {
        let now = Instant::now();
        assert!(now < began + Duration::from_secs(20));
        backend.handle_timeout(now);
        while let Some(order) = backend.poll_order() {
            match order {
                Order::Resolve(role) => backend.handle_resolved(role, config.clone(), now),
                // Instead of the look-up, whose outcome a test cannot choose.
                Order::Connect(ROLE) => {
                    sockets.sockets[ROLE.index()] = Stage::Connecting {
                        sockets: Vec::new(),
                        connector: None,
                    };
                    backend.handle_located(ROLE, &all, now);
                }
                Order::Connect(_) => {}
                order @ (Order::Open(..)
                | Order::Close(..)
                | Order::DeriveKey(_)
                | Order::Leave(_)
                | Order::Cancel(_)
                | Order::Disconnect(_)) => {
                    sockets.carry_out(order, &mut backend, poll.registry(), now);
                }
            }
        }
        if let Ok((connection, _)) = sound.accept() {
            servers.push(connection);
        }
        if let Stage::Connected { origin, .. } = &sockets.sockets[ROLE.index()]
            && matches!(origin, Origin::Tcp { address, .. } if *address == all[2])
        {
            sockets.write(&mut backend, now);
            if let Some(connection) = servers.pop() {
                break connection;
            }
        }
        let wait = Duration::from_millis(50);
        poll.poll(&mut events, Some(wait)).unwrap();
        for event in &events {
            sockets.handle_event(ROLE, event, &mut backend, Instant::now());
        }
    };
    assert!(servers.is_empty(), "one connection, and one session on it");
    accepted.set_nonblocking(false).unwrap();
    let mut startup = [0; 8];
    accepted.read_exact(&mut startup).unwrap();
    assert_eq!(startup[4..], 196_608_u32.to_be_bytes());
}
