//! `alle listen` under tmux, with the real bridge and PostgreSQL: what a person sees who types while
//! ten notifications come each second.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use alle::internals::sandbox;

use super::program::{self, Program, alle, environment::clean};

/// A tmux server with one window of 80 columns.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start(program: &str) -> Self {
        let tmux = Self {
            socket: format!("alle-{}", std::process::id()),
        };
        let shell = "bash --norc --noprofile --noediting -i";
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            shell,
        ]);
        tmux.until(|screen| screen.ends_with('$') || screen.ends_with('#'));
        tmux.keys(&["PS1='$ '; clear", "Enter"]);
        tmux.until(|screen| screen == "$");
        tmux.keys(&[program, "Enter"]);
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        clean(&mut command);
        command
            .args(["-L", &self.socket])
            .args(arguments)
            .env("TERM", "xterm-256color");
        let output = command.output().expect("tmux is installed");
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    #[track_caller]
    fn until(&self, holds: impl Fn(&str) -> bool) {
        super::wait_until(|| holds(&self.screen()));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// Ten notifications a second on `news`, until dropped.
struct Ticker {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(url: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut command = alle(&format!("publish -w {url} --lines news"));
        command.stdout(std::process::Stdio::null());
        let mut program = Program::start(command);
        let seen = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for number in 0.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                program.type_line(&format!("tick {number}"));
                thread::park_timeout(Duration::from_millis(100));
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn last(screen: &str) -> &str {
    screen.lines().last().unwrap_or_default()
}

#[test]
#[ignore = "needs tmux: make terminal"]
fn a_person_types_recalls_resizes_stops_and_returns_while_notifications_come() {
    let serve = format!("serve -w 127.0.0.1:0 -p {}", sandbox::shared().url());
    let bridge = Program::start(alle(&serve));
    let url = loop {
        let line = bridge.stderr.next();
        if let Some((_, url)) = line.split_once("listening on ") {
            break url.to_owned();
        }
    };
    let program = format!("{} listen news -w {url}", program::path());
    let tmux = Tmux::start(&program);
    tmux.until(|screen| last(screen) == ">");
    let ticker = Ticker::start(&url);
    tmux.until(|screen| screen.contains("[news] tick 2"));
    let mut typed = String::from("> ");
    for letter in "list".chars() {
        tmux.keys(&["-l", &letter.to_string()]);
        typed.push(letter);
        tmux.until(|screen| last(screen) == typed);
    }
    let is_torn = |line: &str| {
        let rest = line.strip_prefix("[news] tick ");
        rest.is_none_or(|number| number.parse::<u32>().is_err())
    };
    let screen = tmux.screen();
    let ticks = screen.lines().rev().skip(1).take(8);
    let torn: Vec<_> = ticks.filter(|line| is_torn(line)).collect();
    assert!(
        torn.is_empty() || screen.contains("Waiting"),
        "{torn:?} in\n{screen}"
    );
    tmux.keys(&["Enter"]);
    tmux.until(|screen| screen.contains("> list\nSubscribed channels:\n  - news\n"));
    tmux.keys(&["Up"]);
    tmux.until(|screen| last(screen) == "> list");
    tmux.keys(&[
        "-l",
        " of all the channels that there are in this database here",
    ]);
    let long = "> list of all the channels that there are in this database here";
    tmux.until(|screen| last(screen) == long);
    tmux.run(&["resize-window", "-x", "40"]);
    tmux.until(|screen| {
        let rows: Vec<_> = screen.lines().rev().take(2).collect();
        rows.len() == 2
            && format!("{}{}", rows[1], rows[0]).replace(' ', "") == long.replace(' ', "")
    });
    tmux.run(&["resize-window", "-x", "80"]);
    tmux.until(|screen| last(screen) == long);
    tmux.keys(&["C-z"]);
    tmux.until(|screen| screen.contains("Stopped") && last(screen) == "$");
    tmux.keys(&["bg", "Enter"]);
    let heard = |screen: &str| screen.lines().rev().take(3).all(|line| !is_torn(line));
    tmux.until(heard);
    tmux.keys(&["fg", "Enter"]);
    tmux.until(|screen| last(screen) == long);
    tmux.keys(&["C-u", "quit", "Enter"]);
    tmux.until(|screen| screen.ends_with("> quit\nExiting...\n$"));
    tmux.keys(&["clear", "Enter"]);
    tmux.until(|screen| screen == "$");
    // In the background from the start.
    tmux.keys(&[&format!("{program} &"), "Enter"]);
    tmux.until(heard);
    tmux.keys(&["fg", "Enter"]);
    tmux.until(|screen| last(screen) == ">");
    tmux.keys(&["C-c"]);
    tmux.until(|screen| last(screen) == "$");
    drop(ticker);
}
