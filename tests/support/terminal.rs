//! A program on a terminal of its own: keys go in, and what a person sees comes out.

#[path = "screen.rs"]
mod screen;

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use self::screen::Screen;
use super::program::{PATIENCE, environment::clean};

/// A terminal, its screen, and the program that has it for its own.
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

/// All that was written to the terminal.
struct Seen {
    screen: Screen,
    text: String,
}

impl Terminal {
    /// Starts `program` on a terminal of `columns` columns.
    pub fn start(program: &[&str], variables: &[(&str, &str)], columns: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        let slave = options
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        set_columns(&master, columns);
        let mut command = Command::new("setsid");
        clean(&mut command);
        command
            .args(["--ctty", "--wait", "sh", "-c", RUNNER, "sh"])
            .args(program)
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied());
        let stream = || slave.try_clone().unwrap();
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.spawn().expect("setsid of util-linux");
        let master = File::from(master);
        let seen = Arc::new((
            Mutex::new(Seen {
                screen: Screen::new(columns.into()),
                text: String::new(),
            }),
            Condvar::new(),
        ));
        thread::spawn({
            let (seen, reader) = (Arc::clone(&seen), master.try_clone().unwrap());
            move || read(reader, &seen)
        });
        Self {
            master,
            child,
            seen,
        }
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the window `columns` wide. What is shown stays where it is.
    pub fn resize(&self, columns: u16) {
        set_columns(&self.master, columns);
    }

    /// Waits until the screen is so.
    #[track_caller]
    pub fn until(&self, holds: impl Fn(&str) -> bool) -> String {
        self.wait(|seen| seen.screen.text(), holds)
    }

    /// Waits until the screen ends with this.
    #[track_caller]
    pub fn until_end(&self, expected: &str) {
        self.until(|screen| screen.ends_with(expected));
    }

    /// Waits until the bytes that were written are so.
    #[track_caller]
    pub fn until_written(&self, holds: impl Fn(&str) -> bool) -> String {
        self.wait(|seen| seen.text.clone(), holds)
    }

    /// Waits for the end of the program and its exit status.
    #[track_caller]
    pub fn until_exit(&self, code: i32) {
        self.until_written(|text| text.ends_with(&format!("status {code}\r\n")));
    }

    #[track_caller]
    fn wait(&self, of: impl Fn(&Seen) -> String, holds: impl Fn(&str) -> bool) -> String {
        let (seen, changed) = &*self.seen;
        let guard = seen.lock().unwrap();
        let is_missing = |seen: &mut Seen| !holds(&of(seen));
        let (guard, waited) = changed
            .wait_timeout_while(guard, PATIENCE, is_missing)
            .unwrap();
        let text = of(&guard);
        drop(guard);
        assert!(!waited.timed_out(), "it stays at:\n{text}");
        text
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut reader: File, seen: &(Mutex<Seen>, Condvar)) {
    let mut buffer = [0; 4_096];
    let mut pending = Vec::new();
    // An error is the end: nobody has the terminal any more.
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..length]);
        let whole = match std::str::from_utf8(&pending) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(pending.drain(..whole).collect()).unwrap();
        let mut guard = seen.0.lock().unwrap();
        guard.screen.write(&text);
        guard.text.push_str(&text);
        drop(guard);
        seen.1.notify_all();
    }
}

/// The end of a session takes back what was written last: somebody has to stay.
const RUNNER: &str = r#"trap : INT; "$@"; echo "status $?"; read -r _"#;

fn set_columns(terminal: impl std::os::fd::AsFd, columns: u16) {
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}
