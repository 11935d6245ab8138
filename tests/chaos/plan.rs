//! The faults, their times and lengths: all of it follows from the seed.

use std::{fmt, time::Duration};

use crate::random::Random;

/// A calm, then faults on either side of the bridge at once, then all is repaired.
#[derive(Clone, Debug)]
pub struct Round {
    pub calm: Duration,
    pub server: Option<(ServerFault, Duration)>,
    pub clients: Option<(ClientFault, Duration)>,
}

/// Between the bridge and PostgreSQL, and in either of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerFault {
    /// SIGKILL of every process, and a start again.
    Kill,
    FastRestart,
    /// SIGSTOP and SIGCONT of every process of PostgreSQL.
    PausePostgres,
    /// SIGSTOP and SIGCONT of the bridge.
    PauseBridge,
    /// `pg_terminate_backend`.
    TerminateListening,
    TerminatePublishing,
    TerminateBoth,
    /// Both connections are reset.
    Cut,
    /// Both connections are reset in the middle of a message.
    CutMidMessage,
    /// Everything takes some milliseconds longer.
    Delay,
    /// Nothing is forwarded, and neither end is told.
    BlackHole,
    /// Reset, and new connections as well.
    Refuse,
    /// A transaction that notifies waits at its commit, for a standby that is gone: it holds the
    /// lock of all that notify.
    LockHeld,
    /// Nobody reads the bridge's stderr.
    LogUnread,
}

/// Between the bridge and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientFault {
    CutSome,
    CutMidMessage,
    /// All at once, and all come back.
    CutAll,
    Delay,
    BlackHole,
}

impl ServerFault {
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::FastRestart,
        Self::PausePostgres,
        Self::PauseBridge,
        Self::TerminateListening,
        Self::TerminatePublishing,
        Self::TerminateBoth,
        Self::Cut,
        Self::CutMidMessage,
        Self::Delay,
        Self::BlackHole,
        Self::Refuse,
        Self::LockHeld,
        Self::LogUnread,
    ];
}

impl ClientFault {
    pub const ALL: [Self; 5] = [
        Self::CutSome,
        Self::CutMidMessage,
        Self::CutAll,
        Self::Delay,
        Self::BlackHole,
    ];
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "PostgreSQL: kill -9, restart",
            Self::FastRestart => "PostgreSQL: fast restart",
            Self::PausePostgres => "PostgreSQL: SIGSTOP, SIGCONT",
            Self::PauseBridge => "bridge: SIGSTOP, SIGCONT",
            Self::TerminateListening => "terminate listening backend",
            Self::TerminatePublishing => "terminate publishing backend",
            Self::TerminateBoth => "terminate both backends",
            Self::Cut => "bridge-PostgreSQL: reset",
            Self::CutMidMessage => "bridge-PostgreSQL: reset mid-message",
            Self::Delay => "bridge-PostgreSQL: delay",
            Self::BlackHole => "bridge-PostgreSQL: black hole",
            Self::Refuse => "bridge-PostgreSQL: refused",
            Self::LockHeld => "PostgreSQL: NOTIFY lock held",
            Self::LogUnread => "bridge: stderr not read",
        })
    }
}

impl fmt::Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CutSome => "client-bridge: some reset",
            Self::CutMidMessage => "client-bridge: some reset mid-message",
            Self::CutAll => "client-bridge: all reset",
            Self::Delay => "client-bridge: delay",
            Self::BlackHole => "client-bridge: black hole",
        })
    }
}

/// Rounds without end.
pub struct Plan(Random);

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }
}

impl Iterator for Plan {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let random = &mut self.0;
        let calm = Duration::from_millis(200 + random.bits() % 1_500);
        // Mostly short; now and then long enough for heartbeats, pings and stalled readers.
        let mut hold = || {
            let longest = random.pick(&[100, 500, 500, 2_000, 2_000, 2_000, 6_000, 6_000, 13_000]);
            let hold = Duration::from_millis(20 + random.bits() % longest);
            (random.percent(70), random.below(60), hold)
        };
        let (has_server, server, server_hold) = hold();
        let (has_clients, clients, clients_hold) = hold();
        let server = ServerFault::ALL[server % ServerFault::ALL.len()];
        let is_locked = server == ServerFault::LockHeld;
        let server_hold = if is_locked {
            LOCK_HELD_FOR
        } else {
            server_hold
        };
        let clients = ClientFault::ALL[clients % ClientFault::ALL.len()];
        Some(Round {
            calm,
            server: has_server.then_some((server, server_hold)),
            clients: (has_clients || !has_server).then_some((clients, clients_hold)),
        })
    }
}

/// The faults that are over soon, each once, in rounds as short as can be.
pub fn smoke() -> Vec<Round> {
    let mut clients = ClientFault::ALL.into_iter().cycle();
    let hold = Duration::from_millis(150);
    let round = |server: ServerFault| Round {
        calm: Duration::from_millis(200),
        server: Some((server, hold)),
        clients: clients.next().map(|fault| (fault, hold)),
    };
    let servers = [
        ServerFault::Delay,
        ServerFault::PausePostgres,
        ServerFault::PauseBridge,
        ServerFault::BlackHole,
        ServerFault::LockHeld,
        ServerFault::LogUnread,
        ServerFault::TerminatePublishing,
        ServerFault::TerminateListening,
        ServerFault::CutMidMessage,
        ServerFault::Kill,
    ];
    servers.map(round).into()
}

/// Longer than the bridge waits before it gives its publishing session up.
const LOCK_HELD_FOR: Duration = Duration::from_secs(90);
