//! The output of `alle help` for other programs: the manual page and the completions, given to
//! them.

use std::{
    env, fs,
    io::{ErrorKind, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::program::{alle, run};

/// The output of `alle help` about a topic.
fn printed(topic: &str) -> String {
    let (code, stdout, stderr) = run(alle(&format!("help {topic}")));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{topic}");
    stdout
}

/// The output of `program` for `input`; `None` if it is not installed.
fn made_of(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        // `make terminal` installs all of them.
        Err(error)
            if error.kind() == ErrorKind::NotFound && env::var_os("ALLE_TERMINAL").is_none() =>
        {
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    // A program that fails need not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{program}: {stderr}"
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Each long option in a text, once.
fn options_in(text: &str) -> Vec<&str> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '-');
    let mut options: Vec<_> = words
        .filter(|it| it.starts_with("--") && it.len() > 2)
        .collect();
    options.sort_unstable();
    options.dedup();
    options
}

#[test]
fn the_manual_page_is_without_faults_and_reads_as_it_should() {
    let page = printed("man");
    let lint = made_of("mandoc", &["-Tlint", "-Wstyle"], &page);
    assert_eq!(lint.unwrap_or_default(), "");
    // Without bold type, on lines that are not broken.
    let plain = ["-man", "-Tutf8", "-ww", "-P-cbou", "-rLL=300n"];
    let Some(read) = made_of("groff", &plain, &page) else {
        return;
    };
    let text = read.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "alle - WebSocket clients on PostgreSQL LISTEN/NOTIFY",
        "-w, --ws-bind-addr ADDR Listen for WebSocket clients",
        "Variable: ALLE_MAX_CLIENTS_PER_ADDRESS. Default: any number.",
        r#"alle publish orders '{"id": 123, "status": "pending"}'"#,
        r"A line break in the payload is printed as \n;",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {read}");
    }
}

#[test]
fn help_manual_page_and_completions_have_the_same_options() {
    let topics = [
        "serve", "listen", "publish", "demo", "doctor", "check", "config", "health", "token",
    ];
    let help: String = topics.map(printed).concat();
    // There, a dash that can be copied is escaped, and two dashes alone are no option.
    let man = printed("man").replace("\\-", "-").replace("\\fB", " ");
    let man = man.replace("--none--", "");
    let help = help.replace("--none--", "");
    assert_eq!(options_in(&man), options_in(&help));
    assert_eq!(options_in(&printed("completions bash")), options_in(&help));
    assert_eq!(options_in(&printed("completions zsh")), options_in(&help));
    let fish = printed("completions fish").replace(" -l ", " --");
    assert_eq!(options_in(&fish), options_in(&help));
}

/// Runs `script` in Bash behind our completions.
fn in_bash(script: &str) -> String {
    let whole = format!("{}\n{script}", printed("completions bash"));
    made_of("bash", &["--noprofile", "--norc"], &whole).expect("bash is installed")
}

/// The completions of Bash for the last of `words`, split as Bash splits them.
fn offered_by_bash(words: &[&str]) -> Vec<String> {
    let quoted: Vec<_> = words.iter().map(|it| format!("'{it}'")).collect();
    let offered = in_bash(&format!(
        "complete -p alle >/dev/null || exit\n\
         COMP_WORDS=({}); COMP_CWORD={}; _alle\n\
         ((${{#COMPREPLY[@]}})) && printf '%s\\n' \"${{COMPREPLY[@]}}\"; true",
        quoted.join(" "),
        words.len() - 1
    ));
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    made_of("bash", &["-n"], &printed("completions bash")).expect("bash is installed");
    assert_eq!(
        in_bash("complete -p alle"),
        "complete -F _alle alle\n",
        "it is registered"
    );
    for (words, expected) in [
        (&["alle", "li"][..], &["listen"][..]),
        (&["alle", "d"], &["demo", "doctor"]),
        (&["alle", "--pl"], &["--playground"]),
        (&["alle", "listen", "--js"], &["--json"]),
        (&["alle", "listen", "--play"], &[]),
        (
            &["alle", "--retained", "1M", "--al"],
            &[
                "--allow-origin",
                "--allow-host",
                "--allow-subscribe",
                "--allow-publish",
            ],
        ),
        (&["alle", "-w", "ws://x", "listen", "--js"], &["--json"]),
        (
            &["alle", "--ws-url", "=", "ws://x", "listen", "--js"],
            &["--json"],
        ),
        (&["alle", "-l", "de"], &["debug"]),
        (&["alle", "listen", "--log-level", "=", "tr"], &["trace"]),
        (
            &["alle", "listen", "--log-level", "="],
            &["off", "error", "warn", "info", "debug", "trace"],
        ),
        (&["alle", "-w", ""], &[]),
        (
            &["alle", "publish", "a", ""],
            &[
                "-w",
                "--ws-url",
                "--token-file",
                "--lines",
                "-l",
                "--log-level",
                "-h",
                "--help",
                "-V",
                "--version",
            ],
        ),
        (&["alle", "help", "comp"], &["completions"]),
        (
            &["alle", "help", "completions", ""],
            &["bash", "zsh", "fish"],
        ),
        (&["alle", "bogus", ""], &[]),
    ] {
        assert_eq!(offered_by_bash(words), expected, "{words:?}");
    }
}

/// A directory of one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("alle-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bash_completes_the_names_of_files_with_their_spaces() {
    let folder = Folder::new("completions");
    fs::write(folder.0.join("my tokens"), "").unwrap();
    let begun = folder.0.join("my").to_str().unwrap().to_owned();
    let whole = folder.0.join("my tokens").to_str().unwrap().to_owned();
    let spelt = [
        &["alle", "listen", "--token-file", &begun][..],
        &["alle", "listen", "--token-file", "=", &begun],
        &["alle", "serve", "-w", "x", "--token-file", &begun],
    ];
    for words in spelt {
        assert_eq!(offered_by_bash(words), [whole.as_str()], "{words:?}");
    }
}

#[test]
fn zsh_and_fish_take_their_completions() {
    let zsh = printed("completions zsh");
    assert!(zsh.starts_with("#compdef alle\n"));
    made_of("zsh", &["-f", "-n"], &zsh);
    let loaded = format!("autoload -Uz compinit && compinit -u -D\n{zsh}\nprint $_comps[alle]");
    let registered = made_of("zsh", &["-f"], &loaded);
    assert!(registered.is_none_or(|it| it == "_alle\n"));
    let fish = printed("completions fish");
    made_of("fish", &["--no-config", "--no-execute"], &fish);
    for (line, expected) in [
        ("alle li", "listen"),
        ("alle listen --js", "--json"),
        ("alle serve --playg", "--playground"),
        ("alle --playg", "--playground"),
        ("alle listen --playg", ""),
        ("alle -l de", "debug"),
        ("alle help completions f", "fish"),
        ("alle help comp", "completions"),
    ] {
        let asked = format!("{fish}\ncomplete -C '{line}'");
        let Some(offered) = made_of("fish", &["--no-config"], &asked) else {
            return;
        };
        let words: Vec<_> = offered
            .lines()
            .filter_map(|it| it.split('\t').next())
            .collect();
        assert_eq!(words.join(" "), expected, "{line}");
    }
}
