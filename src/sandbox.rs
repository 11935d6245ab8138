//! A throw-away PostgreSQL server, for the tests and for `alle demo`.
//!
//! Knows PostgreSQL's programs and what happens to a server: stopped, killed, frozen, started
//! again. Refuses to know the bridge and the wire protocol: SQL goes through `psql`. It blocks, and
//! nothing that serves clients may call it.

#![expect(
    clippy::disallowed_methods,
    reason = "it runs programs and waits for them: it has a clock and a thread"
)]

use std::{
    env, fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

pub use self::error::SandboxError;
use self::{
    port::{PORT_COUNT, PORT_FIRST, Port},
    supervisor::Supervisor,
};

mod error;
mod port;
mod programs;
mod supervisor;

/// A small shop whose trigger notifies the channel `orders`, to try things with.
pub const SAMPLE_SQL: &str = include_str!("../assets/sample.sql");

/// The one sandbox of this process, started by the first call.
///
/// A static is never dropped: it ends with the process, however that ends.
///
/// # Panics
///
/// If it does not start: a test without PostgreSQL fails, it is not skipped.
pub fn shared() -> &'static Sandbox {
    static SHARED: OnceLock<Sandbox> = OnceLock::new();
    SHARED.get_or_init(|| Sandbox::start().unwrap_or_else(|error| panic!("{error}")))
}

/// A PostgreSQL cluster of its own, in a temporary directory, and its server.
///
/// [`start`](Self::start) returns when the server takes connections, on a port of 127.0.0.1 and on
/// a Unix socket, for the user `postgres` without a password. Dropping it stops the server at once
/// and removes the directory; a shell in a process group of its own does the same when this process
/// ends in any other way, even by SIGKILL.
///
/// Between [`stop`](Self::stop) or [`kill9`](Self::kill9) and [`start_again`](Self::start_again)
/// there is no server; data directory and port stay. All methods may be called from any thread;
/// those that change the server wait for each other.
pub struct Sandbox {
    supervisor: Mutex<Supervisor>,
    bin_dir: PathBuf,
    directory: PathBuf,
    port: Port,
    databases: AtomicU32,
}

/// How a server is told to stop (PostgreSQL, "Shutting Down the Server").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// SIGTERM: no new sessions; the server ends when its last session has ended by itself.
    Smart,
    /// SIGINT: every session is terminated, then the server ends in order.
    Fast,
    /// SIGQUIT: every process ends at once, and the next start recovers.
    Immediate,
}

impl Sandbox {
    /// Makes a cluster and starts its server.
    ///
    /// The programs are those in `ALLE_PG_BIN`, else on `PATH`, else the newest where Debian or
    /// Homebrew install them. Root, which PostgreSQL refuses to be, becomes `postgres` or nobody.
    pub fn start() -> Result<Self, SandboxError> {
        static IS_FIRST: AtomicBool = AtomicBool::new(true);
        let (mut supervisor, bin_dir) = supervise()?;
        if IS_FIRST.swap(false, Ordering::Relaxed) {
            supervisor.initialize()?;
        } else {
            supervisor.copy(&template()?)?;
        }
        Self::serve(supervisor, bin_dir)
    }

    /// A standby of this server: another sandbox that streams from it (PostgreSQL, "Log-Shipping
    /// Standby Servers").
    ///
    /// It begins with a copy of the files: this server is stopped for it and started again.
    /// (`pg_basebackup` backs up no server that is newer than itself.)
    pub fn start_standby(&self) -> Result<Self, SandboxError> {
        let (mut supervisor, bin_dir) = supervise()?;
        self.stop(StopMode::Fast)?;
        let copied = supervisor.copy(&self.data_dir());
        self.start_again()?;
        copied?;
        supervisor.stand_by()?;
        let primary = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n",
            self.port()
        );
        append_configuration(&supervisor.directory().join("data"), &primary)?;
        Self::serve(supervisor, bin_dir)
    }

    /// Makes a standby a primary; returns when it takes writes.
    pub fn promote(&self) -> Result<(), SandboxError> {
        self.load_sql("postgres", "SELECT pg_promote();")
    }

    /// Starts the server on the cluster that is there.
    fn serve(mut supervisor: Supervisor, bin_dir: PathBuf) -> Result<Self, SandboxError> {
        let port = start_on_a_free_port(&mut supervisor)?;
        Ok(Self {
            directory: supervisor.directory().to_path_buf(),
            supervisor: Mutex::new(supervisor),
            bin_dir,
            port,
            databases: AtomicU32::new(0),
        })
    }

    /// The connection string of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_for("postgres")
    }

    /// The connection string of a database.
    pub fn url_for(&self, database: &str) -> String {
        format!(
            "postgresql://postgres@127.0.0.1:{}/{}",
            self.port(),
            PercentEncoded(database)
        )
    }

    /// The connection string of a database through the Unix socket.
    pub fn unix_url(&self, database: &str) -> String {
        let socket_dir = self.directory.to_string_lossy();
        let (host, database) = (PercentEncoded(&socket_dir), PercentEncoded(database));
        format!("postgresql://postgres@{host}:{}/{database}", self.port())
    }

    /// The directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.directory
    }

    /// The TCP port, also part of the Unix socket's name.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The cluster's data directory, with `pg_hba.conf`.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Adds lines to `postgresql.conf`; they take effect at the next start.
    pub fn append_configuration(&self, lines: &str) -> Result<(), SandboxError> {
        append_configuration(&self.data_dir(), lines)
    }

    /// The log of the server, over all its starts.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The directory of the server's programs.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// A client program, `psql`: beside the server's programs, else on `PATH`, where Debian has a
    /// script that looks for one.
    pub fn client(&self, name: &str) -> PathBuf {
        programs::find_client(name, &self.bin_dir)
    }

    /// The process id of the postmaster; `None` after the server was stopped.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.supervisor().postmaster()
    }

    /// Makes an empty database and returns its name, which is unique.
    ///
    /// Notifications stay within a database: tests with a database each can share a server.
    pub fn create_database(&self) -> Result<String, SandboxError> {
        let name = format!(
            "alle_{}",
            self.databases.fetch_add(1, Ordering::Relaxed) + 1
        );
        // Unlike template1, template0 takes no connections, one of which would make this fail. From
        // PostgreSQL 15 on, it would be copied page by page through the log, which takes several
        // times as long.
        let sql = format!(
            "SELECT current_setting('server_version_num')::int >= 150000 AS has_strategies \\gset\n\
             \\if :has_strategies\n\
             CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy;\n\
             \\else\n\
             CREATE DATABASE {name} TEMPLATE template0;\n\
             \\endif\n"
        );
        self.psql("postgres", &sql)?;
        Ok(name)
    }

    /// Runs SQL by `psql`, each statement in a transaction of its own, up to the first that fails.
    ///
    /// Returns its output: rows only, fields separated by `|`, and asynchronous notifications.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, SandboxError> {
        let io_error = |source| SandboxError::Io {
            attempt: "run psql",
            source,
        };
        let mut command = Command::new(self.client("psql"));
        let mut psql = programs::without_pg_variables(&mut command)
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-w",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-h",
            ])
            .arg(&self.directory)
            .args(["-p", &self.port().to_string(), "-f", "-"])
            // As an argument, a name with "=" or "://" would be read as a connection string.
            .env("PGDATABASE", database)
            .env("PGCLIENTENCODING", "UTF8")
            .env("PGCONNECT_TIMEOUT", "10")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io_error)?;
        let stdin = psql.stdin.take();
        // The input is written while the output is read, for either could fill its pipe. After a
        // failed statement psql stops reading, and reports the failure itself.
        let output = thread::scope(|scope| {
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(sql.as_bytes())));
            psql.wait_with_output()
        })
        .map_err(io_error)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(SandboxError::Psql { output })
        }
    }

    /// Runs SQL for its effect alone, such as [`SAMPLE_SQL`].
    pub fn load_sql(&self, database: &str, sql: &str) -> Result<(), SandboxError> {
        self.psql(database, sql).map(drop)
    }

    /// Stops the server, paused or not, and returns when no process of it is left; nothing to do if
    /// there is none.
    ///
    /// [`StopMode::Smart`] does not wait, since the server runs until its last session ends; see
    /// [`wait_until_stopped`](Self::wait_until_stopped).
    pub fn stop(&self, mode: StopMode) -> Result<(), SandboxError> {
        let mut supervisor = self.supervisor();
        supervisor.signal(match mode {
            StopMode::Smart => "TERM",
            StopMode::Fast => "INT",
            StopMode::Immediate => "QUIT",
        })?;
        // A frozen server would never act on the signal.
        supervisor.resume()?;
        if mode == StopMode::Smart {
            return Ok(());
        }
        supervisor.wait_until_stopped(STOP_TIMEOUT)
    }

    /// Returns when no process of a server asked to stop is left.
    pub fn wait_until_stopped(&self, timeout: Duration) -> Result<(), SandboxError> {
        self.supervisor().wait_until_stopped(timeout)
    }

    /// Ends every process of the server by SIGKILL: clients are not told, and the next start
    /// recovers.
    pub fn kill9(&self) -> Result<(), SandboxError> {
        let mut supervisor = self.supervisor();
        supervisor.kill()?;
        supervisor.wait_until_stopped(STOP_TIMEOUT)
    }

    /// Starts the server after it was stopped or killed, with the same port and data.
    ///
    /// Waits for the end of a server that was asked to stop or that crashed.
    pub fn start_again(&self) -> Result<(), SandboxError> {
        let mut supervisor = self.supervisor();
        supervisor.wait_until_stopped(STOP_TIMEOUT)?;
        start_on(&self.port, &mut supervisor)
    }

    /// Stops the server the fast way and starts it again.
    pub fn restart(&self) -> Result<(), SandboxError> {
        self.stop(StopMode::Fast)?;
        self.start_again()
    }

    /// Freezes every process of the server: connections stay open, connecting succeeds, and nothing
    /// is answered. As if its machine hung.
    pub fn pause(&self) -> Result<(), SandboxError> {
        self.supervisor().pause().map(drop)
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> Result<(), SandboxError> {
        self.supervisor().resume()
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        // A test that fails while it holds the lock must not fail all others as well.
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("directory", &self.directory)
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

/// A shell of its own for the next cluster, and where PostgreSQL's programs are.
fn supervise() -> Result<(Supervisor, PathBuf), SandboxError> {
    let bin_dir = programs::find_bin_dir()?;
    let user = programs::unprivileged_user()?;
    let supervisor = Supervisor::start(&bin_dir, &temporary_dirs(), user)?;
    Ok((supervisor, bin_dir))
}

/// The data directory of a cluster that never has a server, for all sandboxes of this process but
/// the first: a copy takes a fraction of the time.
///
/// A static is never dropped: it ends with the process, as [`shared`].
fn template() -> Result<PathBuf, SandboxError> {
    static TEMPLATE: Mutex<Option<Supervisor>> = Mutex::new(None);
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    let supervisor = match template.take() {
        Some(supervisor) => supervisor,
        None => {
            let (mut supervisor, _) = supervise()?;
            supervisor.initialize()?;
            supervisor
        }
    };
    Ok(template.insert(supervisor).directory().join("data"))
}

fn append_configuration(data_dir: &Path, lines: &str) -> Result<(), SandboxError> {
    let path = data_dir.join("postgresql.conf");
    let file = fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(|source| SandboxError::Io {
            attempt: "write postgresql.conf",
            source,
        })
}

/// Candidates for the directory: the system's temporary directory, else `/tmp`, if the socket's
/// path fits.
fn temporary_dirs() -> Vec<PathBuf> {
    let mut dirs = vec![env::temp_dir(), PathBuf::from("/tmp")];
    dirs.dedup();
    dirs.retain(|dir| {
        let Some(path) = dir.to_str() else {
            return false;
        };
        // PostgreSQL reads the directory from a list with commas and quotes.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
        dir.is_absolute() && path.chars().all(is_plain) && path.len() <= BASE_BYTES_MAX
    });
    dirs
}

/// Starts the server on the port.
fn start_on(port: &Port, supervisor: &mut Supervisor) -> Result<(), SandboxError> {
    port.lend(|number| supervisor.start_server(number))
        .map_err(|source| SandboxError::Io {
            attempt: "share the port with PostgreSQL",
            source,
        })?
}

/// If the port cannot be held, another process may take it before the server does: another port is
/// tried then.
fn start_on_a_free_port(supervisor: &mut Supervisor) -> Result<Port, SandboxError> {
    let mut last_error = None;
    for _ in 0..PORT_ATTEMPTS {
        let Ok(port) = Port::hold(port::random()) else {
            continue;
        };
        match start_on(&port, supervisor) {
            Ok(()) => return Ok(port),
            Err(SandboxError::Start { log }) if log.contains("Address already in use") => {
                last_error = Some(SandboxError::Start { log });
            }
            Err(error) => return Err(error),
        }
    }
    let log = format!(
        "no free port found in {PORT_FIRST} to {}",
        PORT_FIRST + PORT_COUNT - 1
    );
    Err(last_error.unwrap_or(SandboxError::Start { log }))
}

/// A text as part of a connection string (RFC 3986, 2.1).
struct PercentEncoded<'a>(&'a str);

impl fmt::Display for PercentEncoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

const PORT_ATTEMPTS: u32 = 50;

/// The longest directory in which `/alle.XXXXXX/.s.PGSQL.12345` stays within the 103 bytes of a
/// Unix socket's path on macOS; Linux takes 107.
const BASE_BYTES_MAX: usize = 103 - "/alle.XXXXXX/.s.PGSQL.12345".len();

/// The time for PostgreSQL to write its last checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_percent_encoded() {
        let encode = |text| PercentEncoded(text).to_string();
        assert_eq!(encode("/tmp/alle.aB1"), "%2Ftmp%2Falle.aB1");
        assert_eq!(encode("a b?é"), "a%20b%3F%C3%A9");
    }
}
