//! The files in which the options of workers stand, and what becomes of an edit.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    harness::{Bridge, Database, wait_until},
    program::{self, alle_with, environment},
    workers::{Workers, signal},
};

/// Two workers that have their options by files.
struct Edited {
    directory: tempfile::TempDir,
    workers: Workers,
    database: Database,
}

impl Edited {
    #[track_caller]
    fn start() -> Self {
        let database = Database::create();
        let directory = tempfile::tempdir().unwrap();
        write(&directory, "tokens", "n0tTheRealOne-7f3a91c2\n");
        write(&directory, "url", &database.url());
        write(&directory, "alle.toml", &options("token-file = 'tokens'"));
        let config = directory.path().join("alle.toml");
        let command = alle_with(&["serve", "--config", config.to_str().unwrap()]);
        let workers = Workers::of(2, Bridge::run_as_it_is(command));
        workers.wait_until_ready();
        let edited = Self {
            directory,
            workers,
            database,
        };
        edited.assert_strangers_get(401);
        edited
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.directory, name, text);
    }

    /// Another process serves at each place, and is ready.
    #[track_caller]
    fn kill_all(&self) {
        for number in 1..=2 {
            let victim = self.workers.process(number);
            signal(victim, "KILL");
            wait_until("it is started again", || {
                self.workers.process(number) != victim
            });
        }
        self.workers.wait_until_ready();
    }

    /// What strangers are answered, whichever worker they meet.
    #[track_caller]
    fn assert_strangers_get(&self, status: u16) {
        for _ in 0..12 {
            let answer = self
                .workers
                .parent
                .request("POST", "/publish/c", "Content-Length: 0\r\n");
            assert_eq!(answer.status, status, "{}", answer.body);
        }
    }

    #[track_caller]
    fn renew(&self, expected: &str) {
        self.workers.parent.signal("USR2");
        self.workers.parent.wait_for_log(expected);
    }
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn options(more: &str) -> String {
    format!(
        "postgres-url = '@url'\nws-bind-addr = '127.0.0.1:0'\nadmin-addr = '127.0.0.1:0'\n\
         workers = 2\n{more}\n"
    )
}

/// Nobody said that the edit is to hold: a crash is no order.
#[test]
fn a_worker_that_is_started_again_has_the_options_of_the_start() {
    let edited = Edited::start();
    edited.write("alle.toml", &options(""));
    edited.kill_all();
    edited.assert_strangers_get(401);
    edited.write("alle.toml", &options("no-such-key = 1"));
    edited.write("url", "postgresql://127.0.0.1:nonsense/");
    edited.kill_all();
    edited.assert_strangers_get(401);
    edited.renew("the renewal is given up");
    edited.kill_all();
    edited.assert_strangers_get(401);
}

/// A renewal reads the files once, for all workers, and for those that are started again later.
#[test]
fn a_worker_that_is_started_again_has_the_options_of_the_last_renewal() {
    let edited = Edited::start();
    edited.write("alle.toml", &options(""));
    edited.write("url", &format!("{}\n", edited.database.url()));
    edited.renew("every worker is renewed");
    edited.workers.wait_until_ready();
    edited.assert_strangers_get(200);
    edited.write("alle.toml", &options("token-file = 'tokens'"));
    edited.kill_all();
    edited.assert_strangers_get(200);
}

/// What a pipe says is said once: a successor that read an empty one would let everybody in.
#[test]
fn options_that_came_by_a_pipe_stay_as_they_were_in_a_renewal() {
    let database = Database::create();
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "tokens", "n0tTheRealOne-7f3a91c2\n");
    write(&directory, "url", &database.url());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let by_file = options(&format!("token-file = '{}'", path("tokens")));
    let by_file = by_file.replace("'@url'", &format!("'@{}'", path("url")));
    write(&directory, "alle.toml", &by_file);
    let mut command = Command::new("bash");
    environment::clean(&mut command);
    command.args(["-c", "exec \"$0\" serve --config <(cat \"$1\")"]);
    command.args([program::path(), path("alle.toml")]);
    let workers = Workers::of(2, Bridge::run_as_it_is(command));
    workers.wait_until_ready();
    let edited = Edited {
        directory,
        workers,
        database,
    };
    edited.assert_strangers_get(401);
    edited.renew("every worker is renewed");
    edited.workers.wait_until_ready();
    edited.assert_strangers_get(401);
    edited.workers.parent.wait_for_log("cannot be read again");
}
