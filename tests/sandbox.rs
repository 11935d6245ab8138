//! The throw-away server: it does what the tests need, and never leaves anything behind.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests and what they share: they wait for what they expect, with a time-out"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream,
        process::CommandExt,
    },
    panic::catch_unwind,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use alle::internals::sandbox::{SAMPLE_SQL, Sandbox, SandboxError, StopMode, shared};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn two_databases_are_isolated() {
    let sandbox = shared();
    let [one, other] = [(); 2].map(|()| sandbox.create_database().unwrap());
    assert_ne!(one, other);
    sandbox
        .load_sql(
            &one,
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);",
        )
        .unwrap();
    assert_eq!(
        sandbox
            .psql(&one, "SELECT a, a + 1 FROM t ORDER BY a;")
            .unwrap(),
        "1|2\n2|3\n"
    );
    let Err(SandboxError::Psql { output }) = sandbox.psql(&other, "SELECT * FROM t;") else {
        panic!("the table is in the other database as well");
    };
    assert!(
        output.contains(r#"relation "t" does not exist"#),
        "{output}"
    );
}

#[test]
fn it_is_utf8_and_takes_200_connections() {
    let sql = "SHOW server_encoding; SHOW max_connections; SHOW fsync; SELECT 'é';";
    assert_eq!(
        shared().psql("postgres", sql).unwrap(),
        "UTF8\n200\noff\né\n"
    );
}

#[test]
fn both_connection_strings_lead_to_it() {
    let sandbox = shared();
    let database = sandbox.create_database().unwrap();
    for url in [sandbox.url_for(&database), sandbox.unix_url(&database)] {
        let output = Command::new(sandbox.client("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-c",
                "SELECT current_database(), current_user",
                "-d",
                &url,
            ])
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout, format!("{database}|postgres\n"), "{url}");
    }
    assert_eq!(
        sandbox.url(),
        format!(
            "postgresql://postgres@127.0.0.1:{}/postgres",
            sandbox.port()
        )
    );
    let socket = sandbox
        .socket_dir()
        .join(format!(".s.PGSQL.{}", sandbox.port()));
    assert!(socket.as_os_str().len() <= 107);
    assert!(fs::metadata(socket).unwrap().file_type().is_socket());
}

#[test]
fn root_is_dropped_and_the_directory_is_private() {
    let sandbox = shared();
    let directory = fs::metadata(sandbox.socket_dir()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
    assert_ne!(directory.uid(), 0);
    if cfg!(target_os = "linux") {
        let postmaster = proc_dir(sandbox.postmaster_pid().unwrap());
        assert_eq!(fs::metadata(postmaster).unwrap().uid(), directory.uid());
    }
}

/// The statement of the sample's own introduction, seen by a session that listens.
#[test]
fn an_order_of_the_sample_notifies() {
    let sandbox = shared();
    let database = sandbox.create_database().unwrap();
    for _ in 0..2 {
        sandbox.load_sql(&database, SAMPLE_SQL).unwrap();
    }
    let printed = sandbox
        .psql(
            &database,
            "LISTEN orders;
             INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending');",
        )
        .unwrap();
    let payload =
        r#"{"id" : 1, "customer_name" : "Test User", "total" : 99.99, "status" : "pending"}"#;
    let expected =
        format!(r#"Asynchronous notification "orders" with payload "{payload}" received"#);
    assert!(printed.starts_with(&expected), "{printed}");
    let logged = sandbox.psql(
        &database,
        "SELECT id, channel, payload FROM notification_log;",
    );
    assert_eq!(logged.unwrap(), format!("1|orders|{payload}\n"));
}

/// Two-byte characters: the limit counts bytes.
#[test]
fn an_order_of_the_sample_notifies_up_to_the_payload_limit_and_the_id_alone_past_it() {
    let sandbox = shared();
    let database = sandbox.create_database().unwrap();
    sandbox.load_sql(&database, SAMPLE_SQL).unwrap();
    let insert = |customer_name: &str| {
        let insert = "INSERT INTO orders (customer_name, total) VALUES";
        sandbox
            .load_sql(&database, &format!("{insert} ('{customer_name}', 1);"))
            .unwrap();
        let newest =
            "SELECT octet_length(payload), payload FROM notification_log ORDER BY id DESC LIMIT 1;";
        sandbox.psql(&database, newest).unwrap()
    };
    let empty: usize = insert("").split('|').next().unwrap().parse().unwrap();
    let fitting = "x".repeat((7_999 - empty) % 2) + &"é".repeat((7_999 - empty) / 2);
    assert!(insert(&fitting).starts_with("7999|"));
    assert_eq!(insert(&(fitting + "x")), "10|{\"id\" : 3}\n");
    assert_eq!(insert(&"é".repeat(100_000)), "10|{\"id\" : 4}\n");
}

#[test]
fn stopped_and_started_again_it_keeps_port_and_data() {
    let sandbox = Sandbox::start().unwrap();
    let port = sandbox.port();
    sandbox
        .load_sql("postgres", "CREATE TABLE t (a int);")
        .unwrap();
    let mut insert_and_count = {
        let mut count = 0;
        let sandbox = &sandbox;
        move || {
            count += 1;
            let sql = "INSERT INTO t VALUES (1); SELECT count(*) FROM t;";
            assert_eq!(sandbox.psql("postgres", sql).unwrap(), format!("{count}\n"));
        }
    };
    insert_and_count();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        sandbox.stop(mode).unwrap();
        assert_stopped(&sandbox);
        sandbox.start_again().unwrap();
        insert_and_count();
    }
    let before = Process::of(sandbox.postmaster_pid().unwrap());
    sandbox.kill9().unwrap();
    assert_stopped(&sandbox);
    assert!(!before.exists());
    sandbox.start_again().unwrap();
    insert_and_count();
    sandbox.restart().unwrap();
    insert_and_count();
    assert_eq!(sandbox.port(), port);
}

/// The server will be back: a client with its URL must reach this server or none.
#[test]
fn while_it_is_stopped_its_port_is_refused_and_nobody_else_gets_it() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.stop(StopMode::Immediate).unwrap();
    assert_stopped(&sandbox);
    if cfg!(target_os = "linux") {
        let error = TcpListener::bind(("127.0.0.1", sandbox.port())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    sandbox.start_again().unwrap();
    sandbox.psql("postgres", "SELECT 1;").unwrap();
}

#[test]
fn a_standby_has_what_its_primary_has_and_takes_its_place() {
    let primary = Sandbox::start().unwrap();
    let sql = "CREATE TABLE t (a int); INSERT INTO t VALUES (1);";
    primary.load_sql("postgres", sql).unwrap();
    let standby = primary.start_standby().unwrap();
    let count = || standby.psql("postgres", "SELECT count(*) FROM t;").unwrap();
    assert_eq!(count(), "1\n", "of before");
    let insert = "INSERT INTO t VALUES (2);";
    primary.load_sql("postgres", insert).unwrap();
    eventually("it streams", || count() == "2\n");
    assert!(standby.load_sql("postgres", insert).is_err());
    primary.kill9().unwrap();
    standby.promote().unwrap();
    standby.load_sql("postgres", insert).unwrap();
    assert_eq!(count(), "3\n");
    let left = Traces::of(&standby);
    drop(standby);
    assert!(left.are_gone());
}

#[test]
fn a_smart_stop_waits_for_the_last_session() {
    let sandbox = Sandbox::start().unwrap();
    let mut session = Session::open(&sandbox);
    sandbox.stop(StopMode::Smart).unwrap();
    assert_eq!(session.select("1"), "1");
    assert!(sandbox.wait_until_stopped(Duration::ZERO).is_err());
    session.close();
    sandbox.wait_until_stopped(TIMEOUT).unwrap();
    assert_stopped(&sandbox);
    sandbox.start_again().unwrap();
}

/// A frozen server's kernel still accepts: only an answer shows that it is back.
#[test]
fn paused_it_accepts_and_answers_only_when_resumed() {
    let sandbox = Sandbox::start().unwrap();
    let mut session = Session::open(&sandbox);
    sandbox.pause().unwrap();
    session.ask("2");
    let mut stream = TcpStream::connect(("127.0.0.1", sandbox.port())).unwrap();
    // An SSLRequest, which is answered by a single byte.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
        ),
        "{error}"
    );
    assert!(session.answers.try_recv().is_err());
    sandbox.resume().unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
    assert_eq!(session.answer(), "2");
    sandbox.pause().unwrap();
    sandbox.stop(StopMode::Fast).unwrap();
    assert_stopped(&sandbox);
}

#[test]
fn dropped_it_leaves_nothing_whatever_was_done_to_it() {
    type Treatment = fn(&Sandbox) -> Result<(), SandboxError>;
    let treatments: [Treatment; 4] = [
        |_| Ok(()),
        Sandbox::pause,
        Sandbox::kill9,
        |sandbox| sandbox.stop(StopMode::Smart),
    ];
    for (index, treat) in treatments.into_iter().enumerate() {
        let sandbox = Sandbox::start().unwrap();
        let left = Traces::of(&sandbox);
        let _session = Session::open(&sandbox);
        treat(&sandbox).unwrap();
        let was_killed = sandbox.postmaster_pid().is_none();
        let mut log = fs::File::open(sandbox.log_file()).unwrap();
        drop(sandbox);
        assert!(left.are_gone(), "treatment {index}");
        // Its last line, unless it had to be killed.
        let mut logged = String::new();
        log.read_to_string(&mut logged).unwrap();
        let said_goodbye = logged.trim_end().ends_with("database system is shut down");
        assert!(was_killed || said_goodbye, "treatment {index}: {logged}");
    }
}

#[test]
fn a_panic_leaves_nothing() {
    let (sender, receiver) = mpsc::channel();
    let panicked = catch_unwind(move || {
        let sandbox = Sandbox::start().unwrap();
        sender.send(Traces::of(&sandbox)).unwrap();
        panic!("expected by this test");
    });
    assert!(panicked.is_err());
    assert!(receiver.recv().unwrap().are_gone());
}

/// SIGKILL gives the process no chance: only the supervising shell can clean up.
#[test]
fn a_killed_process_leaves_nothing() {
    if is_child() {
        return own_a_sandbox_until_killed();
    }
    let (mut child, left) = child_with_a_sandbox("a_killed_process_leaves_nothing");
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("nothing is left", || left.are_gone());
}

/// The effect of Ctrl-C on a terminal: SIGINT to every process of its foreground group.
#[test]
fn an_interrupted_process_group_leaves_nothing() {
    if is_child() {
        return own_a_sandbox_until_killed();
    }
    let (mut child, left) = child_with_a_sandbox("an_interrupted_process_group_leaves_nothing");
    let kill = format!("kill -s INT -- -{}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    assert!(!child.wait().unwrap().success());
    eventually("nothing is left", || left.are_gone());
}

#[test]
fn a_directory_without_the_programs_in_alle_pg_bin_is_an_error_not_a_hint() {
    if is_child() {
        let error = Sandbox::start().unwrap_err();
        assert_eq!(
            error.to_string(),
            "ALLE_PG_BIN: no postgres and initdb in /nowhere"
        );
        return;
    }
    let name = "a_directory_without_the_programs_in_alle_pg_bin_is_an_error_not_a_hint";
    let status = this_test_as_a_child(name)
        .env("ALLE_PG_BIN", "/nowhere")
        .status()
        .unwrap();
    assert!(status.success());
}

/// A directory too long for a socket, one unknown to the server's user, and one that cannot be
/// written in PostgreSQL's list of socket directories: `/tmp` is used.
#[test]
fn a_temporary_directory_that_cannot_serve_is_passed_over() {
    if is_child() {
        let sandbox = Sandbox::start().unwrap();
        assert!(sandbox.socket_dir().starts_with("/tmp"));
        return;
    }
    let name = "a_temporary_directory_that_cannot_serve_is_passed_over";
    let too_long = format!("/tmp/{}", "x".repeat(100));
    for directory in [&too_long, "/nowhere", "/tmp/with,comma"] {
        let status = this_test_as_a_child(name)
            .env("TMPDIR", directory)
            .status()
            .unwrap();
        assert!(status.success(), "{directory}");
    }
}

/// The remains of a sandbox that is not cleaned up.
struct Traces {
    directory: PathBuf,
    postmaster: Process,
    /// The System V segment by which PostgreSQL knows that a data directory is in use.
    segment: u32,
}

impl Traces {
    fn of(sandbox: &Sandbox) -> Self {
        Self::at(
            sandbox.socket_dir().to_path_buf(),
            sandbox.postmaster_pid().unwrap(),
        )
    }

    fn at(directory: PathBuf, postmaster: u32) -> Self {
        let lock_file = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
        let segment = lock_file
            .lines()
            .nth(6)
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap();
        let segment = segment.parse().unwrap();
        let postmaster = Process::of(postmaster);
        assert!(postmaster.exists() && segment_exists(segment));
        Self {
            directory,
            postmaster,
            segment,
        }
    }

    fn are_gone(&self) -> bool {
        !self.directory.exists() && !self.postmaster.exists() && !segment_exists(self.segment)
    }
}

/// A `psql` that stays connected.
struct Session {
    psql: Child,
    answers: mpsc::Receiver<String>,
}

impl Session {
    fn open(sandbox: &Sandbox) -> Self {
        let mut psql = Command::new(sandbox.client("psql"))
            .args(["-X", "-q", "-A", "-t", "-d", &sandbox.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(psql.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut session = Self { psql, answers };
        assert_eq!(session.select("'connected'"), "connected");
        session
    }

    fn ask(&mut self, expression: &str) {
        writeln!(self.psql.stdin.as_mut().unwrap(), "SELECT {expression};").unwrap();
    }

    fn answer(&self) -> String {
        self.answers.recv_timeout(TIMEOUT).unwrap()
    }

    fn select(&mut self, expression: &str) -> String {
        self.ask(expression);
        self.answer()
    }

    fn close(mut self) {
        drop(self.psql.stdin.take());
        self.psql.wait().unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

fn assert_stopped(sandbox: &Sandbox) {
    assert_eq!(sandbox.postmaster_pid(), None);
    assert!(TcpStream::connect(("127.0.0.1", sandbox.port())).is_err());
    let socket = sandbox
        .socket_dir()
        .join(format!(".s.PGSQL.{}", sandbox.port()));
    assert!(UnixStream::connect(socket).is_err());
}

/// Runs one test of this program in a process of its own.
fn this_test_as_a_child(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1");
    command
}

const CHILD: &str = "ALLE_TEST_SANDBOX_CHILD";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

fn own_a_sandbox_until_killed() {
    let sandbox = Sandbox::start().unwrap();
    let directory = sandbox.socket_dir().display().to_string();
    println!(
        "\nsandbox {} {directory}",
        sandbox.postmaster_pid().unwrap()
    );
    // The end of stdin comes only if the test that started this process is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

fn child_with_a_sandbox(name: &str) -> (Child, Traces) {
    let mut child = this_test_as_a_child(name)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let line = stdout
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("sandbox "))
        .unwrap();
    let mut fields = line.split(' ').skip(1);
    let postmaster = fields.next().unwrap().parse().unwrap();
    let directory = PathBuf::from(fields.next().unwrap());
    (child, Traces::at(directory, postmaster))
}

fn proc_dir(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// One process, and no later one with the same number.
struct Process {
    pid: u32,
    started: Option<String>,
}

impl Process {
    fn of(pid: u32) -> Self {
        let started = Self::started(pid);
        Self { pid, started }
    }

    fn exists(&self) -> bool {
        self.started.is_some() && Self::started(self.pid) == self.started
    }

    /// The start time of the process with that number, in any unit; `None` if there is none.
    fn started(pid: u32) -> Option<String> {
        if cfg!(target_os = "linux") {
            // proc(5): the 22nd field. The second, in parentheses, may have spaces in it.
            let stat = fs::read_to_string(proc_dir(pid).join("stat")).ok()?;
            let (_, fields) = stat.rsplit_once(") ")?;
            return fields.split(' ').nth(19).map(str::to_owned);
        }
        let output = Command::new("ps")
            .args(["-p", &pid.to_string(), "-o", "lstart="])
            .output()
            .unwrap();
        let started = || String::from_utf8(output.stdout).unwrap();
        output.status.success().then(started)
    }
}

fn segment_exists(id: u32) -> bool {
    let output = Command::new("ipcs").arg("-m").output().unwrap();
    let id = id.to_string();
    // The number is the second field on Linux and on macOS.
    let list = String::from_utf8(output.stdout).unwrap();
    list.lines()
        .any(|line| line.split_whitespace().nth(1) == Some(&id))
}

/// Neither a process that is not our child nor a directory announces its end: look again and again.
fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let (_never_used, tick) = mpsc::channel::<()>();
    let deadline = Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            TIMEOUT.as_secs()
        );
        let _ = tick.recv_timeout(Duration::from_millis(10));
    }
}
