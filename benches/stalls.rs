//! The longest turn, in CPU time of its thread, while many clients do at once what may be dear.
//!
//! The hub alone, in the order of the reactor's turn and within its budgets: what the kernel does for
//! its sockets is not counted. `stalls [NAME]` plays all scenes, or those whose name has that in it; without
//! `--bench`, a hundredth of each.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

mod support {
    #[expect(dead_code, reason = "those who share this need the rest")]
    pub(crate) mod server;
}

use std::{collections::VecDeque, env, fmt::Write as _, iter, time::Duration};

use alle::{
    Channel, Limits,
    internals::{
        access::{Access, tokens::Tokens},
        backend::interests::Interests,
        channel::ChannelKey,
        delivery::outgoing::Written,
        hub::{Action, Settings, feed::Fed},
        id::ClientId,
    },
};
use rustix::time::{ClockId, clock_gettime};

use self::support::server::{Server, frame};

fn main() {
    // As one of the tests it only has to run.
    let scale = if env::args().any(|word| word == "--bench") {
        1
    } else {
        100
    };
    let wanted = env::args().skip(1).find(|word| !word.starts_with('-'));
    println!("| scene | turns | longest, ms of CPU | all, ms |\n| --- | --- | --- | --- |");
    for (name, play) in SCENES {
        if wanted
            .as_ref()
            .is_none_or(|wanted| name.contains(wanted.as_str()))
        {
            let turns = play(scale);
            let longest = turns.iter().max().expect("there was a turn");
            let all: Duration = turns.iter().sum();
            let (longest, all) = (milliseconds(*longest), milliseconds(all));
            println!("| {name} | {} | {longest:.2} | {all:.1} |", turns.len());
        }
    }
}

/// What each turn of a scene took.
type Turns = Vec<Duration>;

/// A scene by its name.
type Scene = (&'static str, fn(usize) -> Turns);

const SCENES: [Scene; 9] = [
    ("19,000 clients closed at once", clients_closed),
    ("a gap of 50,000 channels, one subscriber each", gaps),
    (
        "the same, and all 50,000 are deserted before it is read",
        gaps_deserted,
    ),
    (
        "50,000 channels wait for a LISTEN after a lost session",
        listened_again,
    ),
    (
        "1,000,000 subscriptions of 100 clients gone at once",
        subscriptions_gone,
    ),
    ("10,000 stalled readers past `--retained`", stalled_readers),
    (
        "10,000 tokens read again, with 10,000 clients",
        tokens_again,
    ),
    ("`/metrics` with 19,000 clients", metrics),
    (
        "100 clients subscribe to 1,000 channels at once",
        subscribes,
    ),
];

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

/// Turns until nothing is left to do, each of which is first given `input` while its budget lasts.
fn turns(server: &mut Server, input: VecDeque<Input>) -> Turns {
    play(server, input, false)
}

/// The same; where `is_stalled`, no socket takes anything.
fn play(server: &mut Server, mut input: VecDeque<Input>, is_stalled: bool) -> Turns {
    let mut turns = Vec::new();
    loop {
        let began = cpu();
        let mut is_idle = input.is_empty();
        let mut count = 0;
        while !server.hub.is_turn_spent() {
            let Some(next) = input.pop_front() else { break };
            match next {
                Input::Bytes(client, mut bytes) => {
                    server.hub.handle_client_input(client, &mut bytes)
                }
                Input::Closed(client) => server.hub.handle_client_closed(client),
                Input::Fed(fed) => server.hub.handle_fed(&fed),
            }
            count += 1;
            if count % READS_PER_LOOK_AT_CLOCK == 0 && cpu() - began > READ_BUDGET {
                break;
            }
        }
        let mut resumed = Vec::new();
        let write = |_| {
            if is_stalled {
                Written::Full(0)
            } else {
                Written::All
            }
        };
        let writes = server.turn_with(write, |action| {
            if let Action::Resume(client) = action {
                resumed.push(client);
            }
        });
        turns.push(cpu() - began);
        is_idle &= writes == 0 && resumed.is_empty() && server.hub.last_units() == 0;
        // Their next bytes are those that were kept.
        input.extend(resumed.into_iter().map(|it| Input::Bytes(it, Vec::new())));
        if is_idle {
            return turns;
        }
    }
}

/// What a turn reads.
enum Input {
    Bytes(ClientId, Vec<u8>),
    Closed(ClientId),
    Fed(Fed),
}

/// As the reactor's.
const READ_BUDGET: Duration = Duration::from_millis(1);
const READS_PER_LOOK_AT_CLOCK: usize = 8;

fn channels(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|it| format!("orders{it}")).collect()
}

fn crowd(
    limits: Limits,
    count: usize,
    of: impl Fn(usize) -> Vec<String>,
) -> (Server, Vec<ClientId>) {
    let mut server = Server::with_limits(limits);
    let clients = (0..count)
        .map(|it| server.connect_with("", &of(it)))
        .collect();
    (server, clients)
}

fn clients_closed(scale: usize) -> Turns {
    let (mut server, clients) = crowd(Limits::default(), 19_000 / scale, |it| {
        channels(it % 100..it % 100 + 1)
    });
    let closed = clients.into_iter().map(Input::Closed).collect();
    turns(&mut server, closed)
}

/// 50 clients, each with channels of its own.
fn with_own_channels(scale: usize) -> (Server, Vec<ClientId>) {
    let mut limits = Limits::default();
    limits.channels_max = 100_000;
    crowd(limits, 50, |it| {
        channels(it * 1_000 / scale..(it + 1) * 1_000 / scale)
    })
}

fn gaps(scale: usize) -> Turns {
    let (mut server, _clients) = with_own_channels(scale);
    turns(&mut server, [Input::Fed(Fed::Overflow)].into())
}

fn gaps_deserted(scale: usize) -> Turns {
    let (mut server, clients) = with_own_channels(scale);
    let closed = clients.into_iter().map(Input::Closed);
    let input = iter::once(Input::Fed(Fed::Overflow)).chain(closed);
    turns(&mut server, input.collect())
}

/// The part that knows what is wanted of PostgreSQL alone: a loss, a new session, and what that is
/// asked, as much as may be under way at a time.
fn listened_again(scale: usize) -> Turns {
    let mut interests = Interests::default();
    for (name, source) in channels(0..50_000 / scale).iter().zip(0..) {
        let key = interests.intern(Channel::new(name).expect("a good name"));
        interests.want(key, source / 1_000);
    }
    let subscribers = |key: ChannelKey| key.index() % 100;
    interests.handle_up(subscribers);
    while let Some(key) = interests.poll_command().map(|it| it.key) {
        interests.handle_listened(key);
    }
    let mut turns = Vec::new();
    let mut turn = |interests: &mut Interests, reaction: &dyn Fn(&mut Interests)| {
        let began = cpu();
        reaction(interests);
        turns.push(cpu() - began);
    };
    turn(&mut interests, &Interests::handle_down);
    turn(&mut interests, &|it| it.handle_up(subscribers));
    while interests.unsettled_count() > 0 {
        turn(&mut interests, &|it| {
            for _ in 0..256 {
                let Some(key) = it.poll_command().map(|it| it.key) else {
                    return;
                };
                it.handle_listened(key);
            }
        });
    }
    turns
}

fn subscriptions_gone(scale: usize) -> Turns {
    let mut limits = Limits::default();
    limits.channels_max = 100_000;
    limits.subscriptions_max = 10_000;
    let (mut server, clients) = crowd(limits, 100, |_| channels(0..10_000 / scale));
    let closed = clients.into_iter().map(Input::Closed).collect();
    turns(&mut server, closed)
}

fn stalled_readers(scale: usize) -> Turns {
    let mut limits = Limits::default();
    limits.retained_bytes_max = 8_000_000;
    let (mut server, _clients) = crowd(limits, 10_000 / scale, |it| channels(it % 20..it % 20 + 1));
    let payload = "x".repeat(7_000);
    let fed = (0..2_000 / scale).map(|it| {
        let name = format!("orders{}", it % 20);
        let channel = Channel::new(&name).expect("a good name");
        Input::Fed(Fed::Notification(channel, payload.clone()))
    });
    play(&mut server, fed.collect(), true)
}

fn tokens_again(scale: usize) -> Turns {
    let file = |count: usize| {
        let mut text = String::new();
        for it in 0..count {
            writeln!(text, "0123456789abcdef{it} subscribe=orders*").expect("memory");
        }
        Tokens::parse(&text).expect("good tokens")
    };
    let settings = Settings {
        access: Access {
            tokens: Some(file(10_000 / scale)),
            ..Access::default()
        },
        ..Settings::default()
    };
    let mut server = Server::with_settings(settings);
    for it in 0..10_000 / scale {
        let field = format!("Authorization: Bearer 0123456789abcdef{it}\r\n");
        server.connect_with(&field, &channels(0..1));
    }
    let read = file(9_000 / scale);
    let began = cpu();
    server.hub.handle_tokens(read);
    let first = cpu() - began;
    let mut turns = turns(&mut server, VecDeque::new());
    turns[0] += first;
    turns
}

fn metrics(scale: usize) -> Turns {
    let (server, _clients) = crowd(Limits::default(), 19_000 / scale, |_| channels(0..1));
    (0..100 / scale)
        .map(|_| {
            let began = cpu();
            let text = server.hub.metrics_text();
            assert!(
                text.contains(&format!(" {}\n", 19_000 / scale)),
                "each of them is counted"
            );
            cpu() - began
        })
        .collect()
}

fn subscribes(scale: usize) -> Turns {
    let (mut server, clients) = crowd(Limits::default(), 100, |_| Vec::new());
    let names = channels(0..1_000);
    let mut input = VecDeque::new();
    for block in 0..20_usize.div_ceil(scale) {
        for (at, &client) in clients.iter().enumerate() {
            let names = &names[block * 50..(block + 1) * 50];
            let bytes = names.iter().flat_map(|name| {
                frame(&format!(
                    r#"{{"type":"subscribe","channel":"{name}","id":{at}}}"#
                ))
            });
            input.push_back(Input::Bytes(client, bytes.collect()));
        }
    }
    turns(&mut server, input)
}
