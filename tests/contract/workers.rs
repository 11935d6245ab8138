//! Several bridges on one port: one service to the outside, whichever of them serves a client.
//!
//! What becomes of it where one of them, or the parent, is harmed is in `workers_harmed`.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use alle::internals::sandbox;

use crate::{
    admin,
    client::{Client, End},
    crowd::Crowd,
    group::{nothing_was_lost, scale},
    harness::{Bridge, Database, NO_POSTGRES, wait_until, wrapped},
    metrics::value,
    program::{Program, alle_with},
    raw::{Raw, Response, upgrade_request},
    service::{passed, service_manager, told},
};

/// A parent and its workers.
pub struct Workers {
    pub parent: Bridge,
    pub admin: SocketAddr,
    pub count: usize,
}

impl Workers {
    /// So many that are ready.
    #[track_caller]
    pub fn start(count: usize, postgres_url: &str, arguments: &[&str]) -> Self {
        let workers = Self::run(count, alle_with(&["serve"]), postgres_url, arguments);
        workers.wait_until_ready();
        workers
    }

    /// So many, by this command, once the parent listens.
    #[track_caller]
    pub fn run(count: usize, mut command: Command, postgres_url: &str, arguments: &[&str]) -> Self {
        command.args(["-w", "127.0.0.1:0", "-p", postgres_url]);
        command.args(["--admin-addr", "127.0.0.1:0"]);
        command
            .args(["--workers", &count.to_string()])
            .args(arguments);
        Self::of(count, Bridge::run(command))
    }

    #[track_caller]
    pub fn of(count: usize, parent: Bridge) -> Self {
        let line = parent.wait_for_log("health and metrics are at http://");
        let admin = line.rsplit("http://").next().unwrap();
        Self {
            admin: admin.trim().parse().unwrap(),
            parent,
            count,
        }
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until("every worker is ready", || {
            self.get("/readyz").status == 200
        });
    }

    /// Plain HTTP at the admin address.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        admin::get(self.admin, path)
    }

    /// A figure of all workers.
    #[track_caller]
    pub fn sample(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        value(&page, name).unwrap_or_else(|| panic!("{name}: {page}"))
    }

    /// A figure of one of them, while there is one.
    pub fn of_worker(&self, name: &str, number: usize) -> Option<f64> {
        let page = self.get("/metrics").body;
        value(&page, &format!("alle_worker_{name}{{worker=\"{number}\"}}"))
    }

    /// The process of a worker.
    #[track_caller]
    pub fn process(&self, number: usize) -> u32 {
        let mut process = None;
        wait_until("there is such a worker", || {
            process = self.of_worker("process_id", number);
            process.is_some()
        });
        format!("{:.0}", process.unwrap()).parse().unwrap()
    }

    pub fn processes(&self) -> Vec<u32> {
        (1..=self.count).map(|it| self.process(it)).collect()
    }

    /// The second one ends what the first one let go on.
    #[track_caller]
    pub fn end_by_two_signals(&mut self, processes: &[u32]) {
        self.parent.signal("TERM");
        wait_until("it stops", || self.get("/readyz").body == "shutting down\n");
        self.parent.signal("TERM");
        assert_eq!(self.parent.wait_for_exit().0, Some(0));
        wait_until("the workers have ended", || {
            !processes.iter().copied().any(is_alive)
        });
    }

    /// Clients at each of the workers, so many in all.
    #[track_caller]
    pub fn clients(&self, count: usize) -> Vec<Client> {
        let clients: Vec<_> = (0..count).map(|_| self.parent.client()).collect();
        wait_until("each worker has clients", || {
            let open = |it| self.of_worker("clients", it).unwrap_or(0.0);
            let numbers = 1..=self.count;
            numbers.clone().all(|it| open(it) >= 1.0)
                && numbers.map(open).sum::<f64>() == count as f64
        });
        clients
    }
}

/// Sends a process a signal, by name.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Whether there is such a process, and it has not ended.
pub fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn clients_of_all_workers_hear_the_same_and_are_counted_together() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let mut clients = workers.clients(24);
    for client in &mut clients {
        client.subscribe("c");
    }
    let answer = clients[0].notify("c", "from one of them");
    assert_eq!(answer["type"], "notified");
    for client in &mut clients {
        assert_eq!(client.payload(), "from one of them");
    }
    wait_until("every delivery is counted", || {
        workers.sample("alle_deliveries_total") == 24.0
    });
    assert_eq!(workers.sample("alle_clients{state=\"open\"}"), 24.0);
    assert_eq!(workers.sample("alle_publishes_total"), 1.0);
    assert_eq!(workers.sample("alle_group_peers"), 1.0);
    assert_eq!(
        workers.sample("alle_postgres_up{session=\"listening\"}"),
        1.0
    );
    let of = |name| -> f64 { (1..=2).map(|it| workers.of_worker(name, it).unwrap()).sum() };
    assert_eq!(of("deliveries_total"), 24.0);
    assert_eq!(of("ready"), 2.0);
}

#[test]
fn health_and_metrics_are_the_parents_alone() {
    let workers = Workers::run(2, alle_with(&["serve"]), NO_POSTGRES, &[]);
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_eq!(workers.parent.get(path).status, 404, "{path}");
    }
    assert_eq!(workers.get("/healthz").body, "ok\n");
    assert_eq!(workers.get("/nowhere").status, 404);
    assert_eq!(workers.get("/").status, 404);
    wait_until("it is known that PostgreSQL is away", || {
        let ready = workers.get("/readyz");
        assert_eq!(ready.status, 503);
        ready.body
            == "worker 1: PostgreSQL is not connected\nworker 2: PostgreSQL is not connected\n"
    });
    let admin = workers.admin;
    let ask = |request: &str| {
        let mut raw = Raw::open(admin);
        raw.write(request.as_bytes());
        raw.response(request.split(' ').next().unwrap())
    };
    let head = ask(&format!("HEAD /healthz HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    assert_eq!((head.status, &*head.body), (200, ""));
    let post = ask(&format!("POST /healthz HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    assert_eq!(post.status, 405);
    let nowhere = ask(&format!("PUT /nowhere HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    assert_eq!(nowhere.status, 404);
    let foreign = ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nOrigin: https://evil.example");
    assert_eq!(ask(&format!("{page}\r\n\r\n")).status, 403);
    assert_eq!(ask("nonsense\r\n\r\n").status, 400);
    let field = "x".repeat(9_000);
    let long = ask(&format!(
        "GET / HTTP/1.1\r\nHost: {admin}\r\nX: {field}\r\n\r\n"
    ));
    assert_eq!(long.status, 431);
}

/// Peers that say nothing keep nobody out, and the oldest of them goes.
#[test]
fn mute_connections_at_the_admin_address_keep_nobody_out() {
    let workers = Workers::run(2, alle_with(&["serve"]), NO_POSTGRES, &[]);
    let mut mute: Vec<_> = (0..40).map(|_| Raw::open(workers.admin)).collect();
    assert_eq!(workers.get("/healthz").status, 200);
    mute[0].expect_end();
}

#[test]
fn workers_need_an_admin_address_and_a_number_that_can_be() {
    for arguments in [
        &["--workers", "2"][..],
        &["--workers", "auto"],
        &["--workers", "0", "--admin-addr", "127.0.0.1:0"],
        &["--workers", "65", "--admin-addr", "127.0.0.1:0"],
        &["--workers", "many", "--admin-addr", "127.0.0.1:0"],
        &[
            "--workers",
            "2",
            "--admin-addr",
            "127.0.0.1:0",
            "--group-key-file",
            "/nowhere",
        ],
    ] {
        for command in ["serve", "check"] {
            let arguments = [&[command, "-w", "127.0.0.1:0"], arguments].concat();
            let program = Program::start(alle_with(&arguments));
            assert_eq!(program.exit_code(), Some(2), "{arguments:?}");
        }
    }
    let arguments = ["check", "--workers", "2", "--admin-addr", "127.0.0.1:0"];
    assert_eq!(Program::start(alle_with(&arguments)).exit_code(), Some(0));
}

/// Somebody else has set the variable by which a worker knows that it is one.
#[test]
fn a_process_without_a_parent_is_no_worker() {
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES]);
    command.env("ALLE_WORKER", "1");
    let program = Program::start(command);
    assert_eq!(program.exit_code(), Some(2));
    let said = program.stderr.rest().join("\n");
    assert!(said.contains("ALLE_WORKER"), "{said}");
}

#[test]
fn what_clients_may_cost_is_divided() {
    let database = Database::create();
    let workers = Workers::start(3, &database.url(), &["--max-clients", "10"]);
    assert_eq!(workers.sample("alle_clients_max"), 12.0, "rounded up");
}

/// Sockets that share a port would lead the clients of one service to the other.
#[test]
fn a_port_that_is_taken_is_not_shared() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let taken = workers.parent.address.to_string();
    for more in [&["--workers", "2"][..], &[]] {
        let url = database.url();
        let arguments = [
            "serve",
            "-w",
            &taken,
            "-p",
            &url,
            "--admin-addr",
            "127.0.0.1:0",
        ];
        let program = Program::start(alle_with(&[&arguments, more].concat()));
        assert_eq!(program.exit_code(), Some(1), "{more:?}");
        let said = program.stderr.rest().join("\n");
        assert!(said.contains("another program has port"), "{said}");
    }
}

// ---- one service to the outside

#[test]
fn a_signal_to_the_parent_ends_all_of_them_properly() {
    let database = Database::create();
    for name in ["TERM", "INT"] {
        let mut workers = Workers::start(2, &database.url(), &[]);
        let processes = workers.processes();
        let mut clients = workers.clients(12);
        workers.parent.signal(name);
        for client in &mut clients {
            assert!(matches!(client.end(), End::Closed(1001, _)));
        }
        drop(clients);
        assert_eq!(workers.parent.wait_for_exit().0, Some(0));
        assert!(!processes.into_iter().any(is_alive));
    }
}

/// As a terminal does with Ctrl-C, and a service manager at a stop.
#[test]
fn signals_to_the_workers_are_not_theirs() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &[]);
    let processes = workers.processes();
    for process in &processes {
        for name in ["TERM", "INT", "HUP", "USR2"] {
            signal(*process, name);
        }
    }
    let mut client = workers.parent.client();
    client.subscribe("c");
    client.notify("c", "p");
    assert_eq!(client.payload(), "p");
    assert_eq!(workers.processes(), processes);
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let database = Database::create();
    let mut workers = Workers::start(2, &database.url(), &["--drain", "600"]);
    let processes = workers.processes();
    let _clients = workers.clients(12);
    workers.end_by_two_signals(&processes);
}

#[test]
fn a_drain_refuses_newcomers_in_words_and_closes_everybody() {
    let database = Database::create();
    let mut workers = Workers::start(2, &database.url(), &["--drain", "3"]);
    let mut clients = workers.clients(12);
    let address = workers.parent.address;
    workers.parent.signal("TERM");
    wait_until("newcomers are refused", || {
        let mut raw = Raw::open(address);
        raw.write(upgrade_request(address, "/ws", "").as_bytes());
        let status = raw.response("GET").status;
        assert!(status == 101 || status == 503, "{status}");
        status == 503
    });
    assert_eq!(workers.get("/readyz").status, 503);
    for client in &mut clients {
        assert!(matches!(client.end(), End::Closed(1001, _)));
    }
    drop(clients);
    assert_eq!(workers.parent.wait_for_exit().0, Some(0));
}

#[test]
fn a_reload_reaches_every_worker() {
    let database = Database::create();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("n0tTheRealOne-7f3a91c2\nn0tTheRealOne-11111111\n");
    let tokens = file.to_str().unwrap();
    let workers = Workers::start(2, &database.url(), &["--token-file", tokens]);
    let address = workers.parent.address;
    let mut clients: Vec<_> = (0..12)
        .map(|_| Client::connect_with(address, "Bearer n0tTheRealOne-7f3a91c2"))
        .collect();
    wait_until("each worker has clients", || {
        (1..=2).all(|it| workers.of_worker("clients", it) >= Some(1.0))
    });
    write("n0tTheRealOne-11111111\n");
    workers.parent.signal("HUP");
    for client in &mut clients {
        assert!(matches!(client.end(), End::Closed(4001, _)));
    }
}

#[test]
fn the_service_manager_hears_of_the_parent_alone() {
    let (manager, name) = service_manager("workers");
    let mut command = alle_with(&["serve"]);
    command.env("NOTIFY_SOCKET", name);
    let mut workers = Workers::run(2, command, NO_POSTGRES, &[]);
    assert_eq!(told(&manager), "READY=1");
    workers.parent.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(workers.parent.wait_for_exit().0, Some(0));
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 100]).is_err(), "it is told once");
}

/// Sockets that listen on one port.
fn sharing(count: usize) -> Vec<TcpListener> {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = |_| {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        rustix::net::listen(&socket, 16).unwrap();
        let listener = TcpListener::from(socket);
        address = listener.local_addr().unwrap();
        listener
    };
    (0..count).map(listen).collect()
}

fn activated(sockets: &[TcpListener], arguments: &[&str]) -> Bridge {
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
        export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = wrapped(script, arguments);
    command
        .stdin(passed(&sockets[0]))
        .stdout(passed(&sockets[1]));
    Bridge::spawn(command)
}

#[test]
fn sockets_that_were_passed_are_one_for_each_worker_or_refused() {
    let sockets = sharing(2);
    let address = sockets[0].local_addr().unwrap();
    let database = Database::create();
    let url = database.url();
    let arguments = |count| {
        [
            "serve",
            "-p",
            &url,
            "--admin-addr",
            "127.0.0.1:0",
            "--workers",
            count,
        ]
    };
    let mut parent = activated(&sockets, &arguments("3"));
    assert_eq!(parent.wait_for_exit().0, Some(1));
    let line = parent.wait_for_log("there are 3 workers");
    assert!(line.contains("ReusePort=yes"), "{line}");
    let mut parent = activated(&sockets, &arguments("2"));
    parent.address = address;
    let workers = Workers::of(2, parent);
    workers.wait_until_ready();
    drop(sockets);
    let mut clients = workers.clients(12);
    for client in &mut clients {
        client.subscribe("c");
    }
}

/// Whoever comes back finds everything.
pub const KEEPS_ALL: [&str; 6] = [
    "--history",
    "100000",
    "--history-bytes",
    "256M",
    "--unlisten-delay",
    "600",
];

// ---- renewal

#[test]
fn renewals_cost_nobody_anything() {
    let (rounds, clients, channels) = scale();
    let database = Database::create();
    let workers = Workers::start(
        2,
        &database.url(),
        &[&KEEPS_ALL[..], &["--drain", "1"]].concat(),
    );
    let crowd = Crowd::gather(clients, channels, sandbox::shared().port(), &database.name);
    crowd.go_to(&[workers.parent.address]);
    crowd.wait_until_all_hear();
    for round in 1..=rounds {
        let before = workers.processes();
        workers.parent.signal("USR2");
        wait_until("every worker is renewed", || {
            workers
                .parent
                .log()
                .matches("every worker is renewed")
                .count()
                == round
        });
        let after = workers.processes();
        assert!(!after.iter().any(|it| before.contains(it)));
        assert!(!before.into_iter().any(is_alive));
        workers.wait_until_ready();
        crowd.wait_until_all_hear();
    }
    assert_eq!(
        crowd
            .seen()
            .refused
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
    nothing_was_lost(crowd);
    assert_eq!(
        workers.sample("alle_worker_restarts_total{worker=\"1\"}"),
        0.0
    );
}

/// What an operator reads at night, without the lines of the workers themselves: what is done, and
/// nothing that alarms.
#[test]
fn the_log_of_a_renewal_tells_what_is_done_and_alarms_nobody() {
    let database = Database::create();
    let workers = Workers::start(2, &database.url(), &["--drain", "1"]);
    let before = workers.processes();
    let first = before[0];
    let _clients = workers.clients(12);
    workers.parent.signal("USR2");
    workers.parent.wait_for_log("every worker is renewed");
    let after = workers.processes();
    let log = workers.parent.log();
    let (_, renewal) = log.split_once("SIGUSR2: ").unwrap();
    let is_alarm = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    assert_eq!(renewal.lines().find(is_alarm), None);
    let of_parent = renewal
        .lines()
        .filter_map(|line| line.split_once("  INFO alle::bridge: "));
    let said: Vec<_> = of_parent.map(|(_, text)| text.to_owned()).collect();
    let mut expected = Vec::new();
    for (number, (old, new)) in (1..).zip(before.into_iter().zip(after)) {
        expected.extend([
            format!("worker {number}: process {new} is started as its successor"),
            format!(
                "worker {number}: its successor {new} is ready and accepts clients; its predecessor \
                 {old} closes its own over 1 s, and ends"
            ),
            format!("worker {number}: its predecessor {old} has ended: exit status: 0"),
        ]);
    }
    expected.push("every worker is renewed".to_owned());
    assert_eq!(said, expected);
    // Two processes with one number are told apart.
    let stopping = format!("worker{{number=1 process={first}}}: alle::bridge: stopping");
    assert!(renewal.contains(&stopping), "{renewal}");
}

/// The program, where it can be replaced.
fn installed() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alle");
    fs::copy(crate::program::path(), &path).unwrap();
    (directory, path)
}

fn serve_by(program: &Path) -> Command {
    let mut command = Command::new(program);
    crate::program::environment::clean(&mut command);
    command.arg("serve").stdin(Stdio::null());
    command
}

fn inode(path: impl AsRef<Path>) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

/// An upgrade: the file is replaced, and the workers are renewed from the new one; one that was killed
/// before that is started from the old one.
#[test]
fn a_renewal_takes_the_program_that_is_there_now() {
    let (directory, path) = installed();
    let database = Database::create();
    let workers = Workers::run(2, serve_by(&path), &database.url(), &[]);
    workers.wait_until_ready();
    let old = inode(&path);
    let next = directory.path().join("next");
    fs::copy(&path, &next).unwrap();
    fs::rename(&next, &path).unwrap();
    let new = inode(&path);
    assert_ne!(old, new);
    let program = |number| inode(format!("/proc/{}/exe", workers.process(number)));
    let victim = workers.process(2);
    signal(victim, "KILL");
    wait_until("it is started again", || workers.process(2) != victim);
    assert_eq!([program(1), program(2)], [old, old]);
    workers.wait_until_ready();
    workers.parent.signal("USR2");
    workers.parent.wait_for_log("from another program");
    workers.parent.wait_for_log("every worker is renewed");
    assert_eq!([program(1), program(2)], [new, new]);
}

/// What was installed cannot serve: the workers that there are go on, and are started from the program
/// that can.
#[test]
fn a_renewal_from_a_program_that_cannot_serve_changes_nothing() {
    let (directory, path) = installed();
    let database = Database::create();
    let workers = Workers::run(2, serve_by(&path), &database.url(), &[]);
    workers.wait_until_ready();
    let before = workers.processes();
    let next = directory.path().join("next");
    fs::copy("/bin/false", &next).unwrap();
    fs::rename(&next, &path).unwrap();
    workers.parent.signal("USR2");
    workers.parent.wait_for_log("the renewal is given up");
    assert_eq!(workers.processes(), before);
    workers.wait_until_ready();
    signal(before[0], "KILL");
    wait_until("it is started again", || workers.process(1) != before[0]);
    workers.wait_until_ready();
    let mut client = workers.parent.client();
    client.subscribe("c");
}

// ---- what is documented

#[test]
fn the_documentation_names_every_figure_of_a_worker() {
    let workers = Workers::run(2, alle_with(&["serve"]), NO_POSTGRES, &[]);
    let page = workers.get("/metrics").body;
    let documentation = include_str!("../../docs/scaling.md");
    let rows = documentation.lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `alle_worker_"));
    let documented: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let there = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE alle_worker_"));
    let there: Vec<_> = there.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(documented, there);
}
