//! `alle listen` at a terminal, as a person sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use super::{
    listen::TRANSCRIPT,
    mock_bridge::{MockBridge, MockClient},
    program,
    terminal::Terminal,
};

const PLAIN: [(&str, &str); 2] = [("TERM", "xterm"), ("NO_COLOR", "1")];

/// `alle listen news` with `options` on 80 columns, waiting at its prompt.
fn listening(bridge: &MockBridge, options: &[&str]) -> (Terminal, MockClient) {
    let url = bridge.url();
    let alle = program::path();
    let program = [&*alle, "listen", "-w", &url, "news"];
    let terminal = Terminal::start(&[&program, options].concat(), &PLAIN, 80);
    let mut client = bridge.accept();
    client.confirm("news");
    terminal.until(|screen| screen.lines().last() == Some(">"));
    (terminal, client)
}

fn notify(client: &mut MockClient, payload: &str) {
    let message = json!({"type": "notification", "channel": "news", "payload": payload});
    client.say(&message.to_string());
}

fn refuse(client: &mut MockClient, id: &serde_json::Value) {
    let message = json!({"type": "error", "code": "forbidden", "id": id, "message": "not yours"});
    client.say(&message.to_string());
}

/// Word for word and byte for byte, with a command and its answer.
#[test]
fn the_transcript_is_that_of_the_readme() {
    let bridge = MockBridge::start();
    let url = bridge.url();
    let alle = program::path();
    let program = [&*alle, "listen", "-w", &url, "orders,alerts"];
    let mut terminal = Terminal::start(&program, &PLAIN, 80);
    let mut client = bridge.accept();
    client.confirm("alerts");
    client.confirm("orders");
    let greeting = TRANSCRIPT.replace("URL", &url) + "\n> ";
    let greeting = greeting.replace('\n', "\r\n");
    let shown = terminal.until_written(|text| text.ends_with("\r\n> "));
    assert_eq!(shown, greeting);
    terminal.press("list\r");
    let list = "list\r\nSubscribed channels:\r\n  - alerts\r\n  - orders\r\n> ";
    let shown = terminal.until_written(|text| text.ends_with("orders\r\n> "));
    assert_eq!(shown, format!("{greeting}{list}"));
    client.say(r#"{"type":"notification","channel":"orders","payload":"\u001b]0;evil\u0007"}"#);
    let notification = "\r\x1b[K[orders] \\u{1b}]0;evil\\u{7}\r\n> ";
    let shown = terminal.until_written(|text| text.ends_with("}\r\n> "));
    assert_eq!(shown, format!("{greeting}{list}{notification}"));
    terminal.press("quit\r");
    let shown = terminal.until_written(|text| text.contains("status"));
    let end = "quit\r\nExiting...\r\nstatus 0\r\n";
    assert_eq!(shown, format!("{greeting}{list}{notification}{end}"));
}

/// A half-typed `sub ne` used to vanish, and Enter to run it all the same.
#[test]
fn what_is_typed_is_seen_while_notifications_come() {
    let bridge = MockBridge::start();
    let (mut terminal, mut client) = listening(&bridge, &[]);
    let mut typed = String::from("\n> ");
    for (number, letter) in "sub newsletter".chars().enumerate() {
        terminal.press(&letter.to_string());
        typed.push(letter);
        notify(&mut client, &number.to_string());
        terminal.until_end(&format!("[news] {number}{}", typed.trim_end()));
    }
    terminal.press("\r");
    client.confirm("newsletter");
    let end = "> sub newsletter\n✓ Subscribed to channel 'newsletter'\n>";
    terminal.until_end(end);
    let screen = terminal.until(|_| true);
    let shown: Vec<_> = screen.lines().filter(|it| it.starts_with('[')).collect();
    let expected: Vec<_> = (0..14).map(|number| format!("[news] {number}")).collect();
    assert_eq!(shown, expected);
}

#[test]
fn lines_are_edited_recalled_and_completed() {
    let bridge = MockBridge::start();
    let (mut terminal, mut client) = listening(&bridge, &[]);
    terminal.press("sub xrders\x01\x1b[C\x1b[C\x1b[C\x1b[C\x1b[3~o\r");
    client.confirm("orders");
    terminal.until_end("✓ Subscribed to channel 'orders'\n>");
    terminal.press("\x1b[A\x1b[A");
    terminal.until_end("\n> sub orders");
    terminal.press("\x15li\t\r");
    terminal.until_end("\n> list\nSubscribed channels:\n  - news\n  - orders\n>");
    terminal.press("unsub \t\t");
    terminal.until_end("\n  news\n  orders\n> unsub");
    terminal.press("o\t\r");
    let heard = client.hear();
    assert_eq!(
        (&heard["type"], &heard["channel"]),
        (&json!("unsubscribe"), &json!("orders"))
    );
}

#[test]
fn a_window_of_another_width_shows_the_line_anew() {
    let bridge = MockBridge::start();
    let (mut terminal, mut client) = listening(&bridge, &[]);
    terminal.press("sub one");
    terminal.until_end("\n> sub one");
    terminal.resize(40);
    terminal.until_written(|text| text.ends_with("\r\x1b[K> sub one"));
    notify(&mut client, "first");
    terminal.until_end("[news] first\n> sub one");
    terminal.press(&"x".repeat(31));
    // Now the line is as wide as the window.
    terminal.until_written(|text| text.ends_with(&format!("{}\r\r\n", "x".repeat(31))));
}

#[test]
fn a_typed_notification_is_published_and_a_screen_cleared() {
    let bridge = MockBridge::start();
    let (mut terminal, mut client) = listening(&bridge, &[]);
    terminal.press("pub 'my orders' {\"id\": 7}\r");
    let heard = client.hear();
    let id = &heard["id"];
    let expected =
        json!({"type": "notify", "channel": "my orders", "payload": "{\"id\": 7}", "id": id});
    assert_eq!(heard, expected);
    client.say(&format!(
        r#"{{"type":"notified","channel":"my orders","id":{id}}}"#
    ));
    terminal.until_end("✓ Published to channel 'my orders'\n>");
    terminal.press("pub orders\r");
    terminal.until_end("Which channel, and what? pub <channel> <payload>\n>");
    terminal.press("clear\r");
    terminal.until(|screen| screen == ">");
}

#[test]
fn a_refused_channel_is_named_and_off_the_list_and_the_person_goes_on() {
    let bridge = MockBridge::start();
    let (mut terminal, client) = listening(&bridge, &[]);
    client.close(1012, "restart");
    let mut client = bridge.accept();
    let id = client.hear()["id"].clone();
    refuse(&mut client, &id);
    terminal.until_end(
        "✗ Channel 'news' was refused and is off the list: not yours\n\
         ✓ Connected again; there is no channel (try: sub <channel>)\n>",
    );
    terminal.press("list\rsub other\r");
    client.confirm("other");
    terminal
        .until_end("Subscribed channels: none\n> sub other\n✓ Subscribed to channel 'other'\n>");
}

#[test]
fn colours_are_shown_unless_they_are_declined() {
    let bridge = MockBridge::start();
    let url = bridge.url();
    let alle = program::path();
    let program = [
        &*alle,
        "listen",
        "-w",
        &url,
        "news",
        "--quiet",
        "--timestamps",
    ];
    let terminal = Terminal::start(&program, &[("TERM", "xterm-256color")], 80);
    let mut client = bridge.accept();
    client.confirm("news");
    notify(&mut client, "x\u{1b}[0m");
    let shown = terminal.until_written(|text| text.contains(" x"));
    let (time, rest) = shown.split_once("\x1b[0m").unwrap();
    let time = time.rsplit_once("\x1b[2m").unwrap().1;
    assert!(time.starts_with("20") && time.ends_with("Z "), "{time}");
    assert!(
        rest.starts_with("\x1b[36m[news]\x1b[0m x\\u{1b}[0m\r\n"),
        "{rest:?}"
    );
}

/// It can take nothing back, so a prompt that a notification meets is left where it is.
#[test]
fn a_dumb_terminal_gets_no_escapes_and_edits_its_lines_itself() {
    let bridge = MockBridge::start();
    let url = bridge.url();
    let alle = program::path();
    let program = [&*alle, "listen", "-w", &url, "news"];
    let mut terminal = Terminal::start(&program, &[("TERM", "dumb")], 80);
    let mut client = bridge.accept();
    client.confirm("news");
    terminal.until_end("\n>");
    notify(&mut client, "first");
    terminal.until_end(">\n[news] first\n>");
    terminal.press("lost\x15list\r");
    terminal.until_end("Subscribed channels:\n  - news\n>");
    assert!(!terminal.until_written(|_| true).contains('\x1b'));
    terminal.press("\x04");
    terminal.until_exit(0);
}

#[test]
fn ctrl_d_and_ctrl_c_end_it_below_the_line() {
    for (typed, key) in [("", "\x04"), ("", "\x03"), ("half", "\x03")] {
        let bridge = MockBridge::start();
        let (mut terminal, _client) = listening(&bridge, &[]);
        let line = format!("\n> {typed}");
        terminal.press(typed);
        // Ctrl-C drops what the program has not read yet.
        terminal.until_end(line.trim_end());
        terminal.press(key);
        terminal.until_end(&format!("{}\nstatus 0", line.trim_end()));
    }
}

/// A shell with job control, in a directory of its own.
struct Shell {
    terminal: Terminal,
    folder: PathBuf,
    commands: usize,
}

impl Shell {
    fn start(name: &str) -> Self {
        let name = format!("alle-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let variables = [PLAIN[0], PLAIN[1], ("PS1", "$ ")];
        let bash = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
        // A command is one line, however long the path of the program is.
        let terminal = Terminal::start(&bash, &variables, 400);
        terminal.until_end("$");
        let mut shell = Self {
            terminal,
            folder,
            commands: 0,
        };
        shell.run(&format!("cd {}", shell.folder.display()));
        shell
    }

    /// Runs a command, up to the next prompt.
    fn run(&mut self, command: &str) -> String {
        self.commands += 1;
        let number = self.commands;
        let keys = format!("{command}\recho do\"\"ne-{number}\r");
        self.terminal.press(&keys);
        self.terminal
            .until(|screen| screen.ends_with(&format!("done-{number}\n$")))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn wait_for(path: &Path, expected: &str) {
    super::wait_until(|| fs::read_to_string(path).is_ok_and(|text| text.contains(expected)));
}

/// It used to be stopped by the terminal, for reading it in the background.
#[test]
fn in_the_background_it_keeps_listening() {
    let bridge = MockBridge::start();
    let mut shell = Shell::start("background");
    let url = bridge.url();
    let alle = program::path();
    shell.run(&format!("{alle} listen news -w {url} >out 2>err &"));
    let mut client = bridge.accept();
    client.confirm("news");
    notify(&mut client, "heard");
    wait_for(&shell.file("out"), "[news] heard\n");
    // What is typed is the shell's.
    let jobs = shell.run("jobs");
    assert!(jobs.contains("Running"), "{jobs}");
    shell.terminal.press("fg\r");
    shell
        .terminal
        .until(|screen| screen.contains("$ fg\n") && screen.ends_with("err"));
    shell.terminal.press("list\r");
    wait_for(&shell.file("err"), "  - news\n");
    shell.terminal.press("quit\r");
    shell.terminal.until_end("\n$");
}

#[test]
fn stopped_sent_to_the_background_and_fetched_again_it_knows_what_was_typed() {
    let bridge = MockBridge::start();
    let mut shell = Shell::start("jobs");
    shell.run("stty -g >before");
    let alle = program::path();
    shell
        .terminal
        .press(&format!("{alle} listen news -w {}\r", bridge.url()));
    let mut client = bridge.accept();
    client.confirm("news");
    shell
        .terminal
        .until_end("Waiting for notifications...\n\n>");
    shell.terminal.press("sub ne");
    shell.terminal.until_end("\n> sub ne");
    shell.terminal.press("\x1a");
    shell
        .terminal
        .until(|screen| screen.contains("Stopped") && screen.ends_with("\n$"));
    shell.run("stty -g >stopped");
    shell.run("bg");
    notify(&mut client, "in the background");
    shell
        .terminal
        .until(|screen| screen.contains("[news] in the background"));
    shell.run("jobs >jobs");
    let jobs = fs::read_to_string(shell.file("jobs")).unwrap();
    assert!(jobs.contains("Running"), "{jobs}");
    shell.terminal.press("fg\r");
    shell.terminal.until_end("\n> sub ne");
    notify(&mut client, "in front");
    shell.terminal.until_end("[news] in front\n> sub ne");
    shell.terminal.press("ws2\r");
    client.confirm("news2");
    shell
        .terminal
        .until_end("✓ Subscribed to channel 'news2'\n>");
    shell.terminal.press("quit\r");
    shell.terminal.until_end("Exiting...\n$");
    shell.run("stty -g >after");
    let modes = |name| fs::read_to_string(shell.file(name)).unwrap();
    assert_eq!(modes("stopped"), modes("before"));
    assert_eq!(modes("after"), modes("before"));
}

/// The terminal holds up what is written to it (Ctrl-S), and the loop with that.
#[test]
fn however_it_is_ended_the_terminal_is_as_before() {
    for signals in [&["INT", "INT"][..], &["TERM", "INT"], &["HUP"], &["QUIT"]] {
        let bridge = MockBridge::start();
        let mut shell = Shell::start(&signals.join("-"));
        shell.run("stty -g >before");
        let alle = program::path();
        let url = bridge.url();
        shell.terminal.press(&format!(
            "sh -c 'echo $$ >id; exec {alle} listen news -w {url}'\r"
        ));
        let mut client = bridge.accept();
        client.confirm("news");
        shell
            .terminal
            .until_end("Waiting for notifications...\n\n>");
        let id = fs::read_to_string(shell.file("id")).unwrap();
        shell.terminal.press("\x13");
        notify(&mut client, "held up");
        // In a write to stdout.
        let call = || fs::read_to_string(format!("/proc/{}/syscall", id.trim()));
        super::wait_until(|| call().is_ok_and(|it| it.split(' ').nth(1) == Some("0x1")));
        let mut signals_left = signals.iter();
        let mut signal = "";
        super::wait_until(|| {
            // Two of a kind may be taken for one.
            signal = signals_left.next().unwrap_or(&signal);
            let kill = ["-s", signal, id.trim()];
            let _ = Command::new("kill").args(kill).output();
            !Path::new(&format!("/proc/{}", id.trim())).exists()
        });
        shell.terminal.press("\x11");
        shell.run("stty -g >after");
        let modes = |name| fs::read_to_string(shell.file(name)).unwrap();
        assert_eq!(modes("after"), modes("before"), "{signals:?}");
    }
}

/// A line takes several rows there, and is kept below what comes all the same.
#[test]
fn a_terminal_of_20_columns_keeps_what_is_typed() {
    let bridge = MockBridge::start();
    let url = bridge.url();
    let alle = program::path();
    let program = [&*alle, "listen", "-w", &url, "news", "--quiet"];
    let mut terminal = Terminal::start(&program, &PLAIN, 20);
    let mut client = bridge.accept();
    client.confirm("news");
    terminal.until_end(">");
    terminal.press("sub a-name-of-more-than-twenty-columns");
    let line = ">suba-name-of-more-than-twenty-columns";
    let shown = |screen: &str| screen.replace(['\n', ' '], "");
    terminal.until(|screen| shown(screen) == line);
    notify(&mut client, "a payload of more than twenty columns");
    let notified = format!("[news]apayloadofmorethantwentycolumns{line}");
    terminal.until(|screen| shown(screen) == notified);
    terminal.press("\x01\x1b[3~\x1b[3~\x1b[3~\x1b[3~unsub \r");
    let heard = client.hear();
    assert_eq!(
        (&heard["type"], &heard["channel"]),
        (
            &json!("unsubscribe"),
            &json!("a-name-of-more-than-twenty-columns")
        )
    );
}
