//! Starts the real bridge on a port of its own choice and keeps its log.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use alle::internals::sandbox;

use crate::{
    client::Client,
    program::alle_with,
    raw::{Raw, Response},
    sql::Sql,
};

/// How long anything may take before it counts as never. A test that passes waits for less.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// For an event that happens at once, on a machine that may be busy: before a time-out of the
/// bridge could cause it. A heartbeat without an answer, a head and a reader without progress have
/// ten seconds.
pub const AT_ONCE: Duration = Duration::from_secs(9);

/// A URL that leads to no PostgreSQL: only root may bind port 1, and it never does.
pub const NO_POSTGRES: &str = "postgresql://postgres@127.0.0.1:1/nobody";

/// So many of what `make` makes, by ten threads: each waits for answers most of the time, and none may
/// wait for the last one until it is pinged in vain.
pub fn crowd<T: Send>(count: usize, make: impl Fn() -> T + Sync) -> Vec<T> {
    const THREADS: usize = 10;
    thread::scope(|scope| {
        let share = || (0..count / THREADS).map(|_| make()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(share)).collect();
        let shares = threads.into_iter().map(|it| it.join().unwrap());
        shares.flatten().collect()
    })
}

/// Panics unless `condition` comes true in time.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// `alle` with `arguments`, started by a shell's `script`, which has it as `"$0" "$@"`.
pub fn wrapped(script: &str, arguments: &[&str]) -> Command {
    let alle = alle_with(arguments);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(alle.get_program());
    shell.args(alle.get_args());
    for (name, value) in alle.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A database of the shared server, of one test only.
pub struct Database {
    pub name: String,
}

impl Database {
    pub fn create() -> Self {
        let name = sandbox::shared().create_database().unwrap();
        Self { name }
    }

    /// One of another encoding, named for the test.
    pub fn with_encoding(encoding: &str) -> Self {
        let name = format!("encoded_{}", encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' \
             TEMPLATE template0;"
        );
        sandbox::shared().load_sql("postgres", &create).unwrap();
        Self { name }
    }

    pub fn url(&self) -> String {
        sandbox::shared().url_for(&self.name)
    }

    /// A session of the test's own.
    pub fn sql(&self) -> Sql {
        Sql::connect(sandbox::shared().port(), &self.name)
    }

    /// From the next session on, the server logs every statement.
    pub fn log_statements(&self) {
        let name = &self.name;
        self.sql()
            .run(&format!("ALTER DATABASE {name} SET log_statement = 'all'"));
    }
}

/// How often the shared server logged `text`.
pub fn logged_by_postgres(text: &str) -> usize {
    let log = std::fs::read(sandbox::shared().log_file()).unwrap();
    String::from_utf8_lossy(&log)
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

/// A bridge that is ready, and its database.
pub fn bridge_and_database() -> (Bridge, Database) {
    let database = Database::create();
    (Bridge::start(&database.url()), database)
}

/// A running `alle serve`; killed when dropped.
pub struct Bridge {
    pub address: SocketAddr,
    child: Child,
    log: Log,
}

impl Bridge {
    /// Connected to PostgreSQL.
    #[track_caller]
    pub fn start(postgres_url: &str) -> Self {
        Self::start_with(postgres_url, &[])
    }

    /// With more arguments, and connected to PostgreSQL.
    #[track_caller]
    pub fn start_with(postgres_url: &str, arguments: &[&str]) -> Self {
        let bridge = Self::serve(postgres_url, arguments);
        bridge.wait_until_ready();
        bridge
    }

    /// Listening, whatever the state of PostgreSQL.
    #[track_caller]
    pub fn serve(postgres_url: &str, arguments: &[&str]) -> Self {
        let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", postgres_url]);
        command.args(arguments);
        let bridge = Self::run(command);
        if postgres_url == NO_POSTGRES {
            // From then on PostgreSQL is down for every client; before, nothing has failed.
            bridge.wait_for_log("listening session: connection");
        }
        bridge
    }

    /// The bridge that `command` starts, once it listens.
    #[track_caller]
    pub fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::run_as_it_is(command)
    }

    /// The same with the descriptors that the command was given.
    #[track_caller]
    pub fn run_as_it_is(command: Command) -> Self {
        let mut bridge = Self::spawn(command);
        // Under TLS it is wss://.
        let line = bridge.wait_for_log("listening on ws");
        let address = line.rsplit("://").next().unwrap();
        // In JSON, more follows.
        let address = address.split('"').next().unwrap();
        bridge.address = address.trim().parse().unwrap();
        bridge
    }

    /// Whether it will listen or not: it has no address.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Log::read(child.stderr.take().unwrap());
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            child,
            log,
        }
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until("/readyz answers 200", || self.get("/readyz").status == 200);
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Plain HTTP.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "")
    }

    /// Plain HTTP with more header lines, each ended by CR LF.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Response {
        let mut raw = Raw::open(self.address);
        let host = self.address;
        raw.write(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes());
        raw.response(method)
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// The admin address, which the log names.
    #[track_caller]
    pub fn admin_address(&self) -> SocketAddr {
        let line = self.wait_for_log("health and metrics are at http://");
        let (_, address) = line.rsplit_once("http://").unwrap();
        address.trim().parse().unwrap()
    }

    /// The first line with `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// The kernel's `file` about the process (proc(5)).
    pub fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    /// Processor time it has used so far, in seconds (proc(5), `/proc/pid/stat`).
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        // The name, in parentheses, may have spaces in it; utime and stime are the 12th and 13th
        // behind it, in ticks of which every Linux has 100 a second.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks = fields.skip(11).take(2).map(|it| it.parse::<u32>().unwrap());
        f64::from(ticks.sum::<u32>()) / 100.0
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Whether it has ended.
    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The exit status, and how long it took to come.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> (Option<i32>, Duration) {
        let start = Instant::now();
        let mut code = None;
        wait_until("the bridge ends", || {
            let status = self.child.try_wait().unwrap();
            status.inspect(|status| code = status.code()).is_some()
        });
        (code, start.elapsed())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut lines = self.log.lines();
            lines.drain(..lines.len().saturating_sub(LOG_LINES_SHOWN));
            eprintln_lines(&lines);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the bridge's last words help to read the failure of a test"
)]
fn eprintln_lines(lines: &[String]) {
    for line in lines {
        eprintln!("bridge: {line}");
    }
}

/// The lines of a stream as they arrive.
struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Log {
    fn read(stream: impl std::io::Read + Send + 'static) -> Self {
        let shared: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let log = Self(Arc::clone(&shared));
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
        log
    }

    fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let is_missing = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(text));
        let lines = self.0.0.lock().unwrap();
        let (lines, _) = self
            .0
            .1
            .wait_timeout_while(lines, PATIENCE, is_missing)
            .unwrap();
        let found = lines.iter().find(|line| line.contains(text)).cloned();
        let all = lines.join("\n");
        drop(lines);
        found.unwrap_or_else(|| panic!("{text:?} was not logged, but:\n{all}"))
    }
}

const LOG_LINES_SHOWN: usize = 40;
