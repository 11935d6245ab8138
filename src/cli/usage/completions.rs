//! Completions for three shells: commands, options, and values where they are known.
//!
//! Each script names every option of its command and nothing of another one. Before a command, the
//! options are those of `alle serve`.

use std::fmt::Write as _;

use super::pages;
use crate::cli::{
    command::{COMPLETIONS, CommandName, HELP, MAN, Shell},
    flags::{self, FLAGS, Flag, Value},
};

/// The script for Bash, from 3.2 on, without the package bash-completion.
pub(super) fn bash() -> String {
    let mut takes_value: Vec<String> = Vec::new();
    let mut files: Vec<String> = Vec::new();
    let mut filters: Vec<String> = Vec::new();
    for flag in FLAGS.iter().filter(|flag| flag.takes_value()) {
        for spelling in spellings(flag) {
            if takes_value.contains(&spelling) {
                continue;
            }
            match known_values(flag) {
                Known::Files => files.push(spelling.clone()),
                Known::Words => filters.push(spelling.clone()),
                Known::Nothing => {}
            }
            takes_value.push(spelling);
        }
    }
    let mut options = String::new();
    for command in CommandName::ALL {
        let spellings: Vec<_> = flags::shown(command).flat_map(spellings).collect();
        let word = command.word();
        let _ = writeln!(
            options,
            "        {word}) words='{}' ;;",
            spellings.join(" ")
        );
    }
    let serve: Vec<_> = flags::shown(CommandName::Serve)
        .flat_map(spellings)
        .collect();
    BASH.replace("TAKES_VALUE", &takes_value.join("|"))
        .replace("FILES", &files.join("|"))
        .replace("FILTERS", &filters.join("|"))
        .replace("LEVELS", LEVELS)
        .replace("SHELLS", &Shell::ALL.map(Shell::word).join(" "))
        .replace("TOPICS", &topics().join(" "))
        .replace("COMMANDS", &commands().join(" "))
        .replace("SERVE", &serve.join(" "))
        .replace("        OPTIONS\n", &options)
}

/// The script for zsh: to be found as `_alle` in the `fpath`, or to be sourced.
pub(super) fn zsh() -> String {
    let mut options = String::new();
    for command in CommandName::ALL {
        let _ = write!(options, "        {})\n            ", command.word());
        let operand = match command {
            CommandName::Listen => "'*:channel: '",
            CommandName::Publish => "'1:channel: ' '2:payload: '",
            CommandName::Serve
            | CommandName::Demo
            | CommandName::Doctor
            | CommandName::Check
            | CommandName::Config
            | CommandName::Health
            | CommandName::Token => "",
        };
        let _ = writeln!(
            options,
            "_arguments -s {}{operand}\n            ;;",
            zsh_options(command)
        );
    }
    let described = CommandName::ALL
        .map(|it| (it.word(), pages::page(it).summary))
        .into_iter()
        .chain([(HELP, pages::HELP_SUMMARY)]);
    let described: Vec<_> = described
        .map(|(word, summary)| quoted(&format!("{word}:{summary}")))
        .collect();
    ZSH.replace("SHELLS", &Shell::ALL.map(Shell::word).join(" "))
        .replace("TOPICS", &topics().join(" "))
        .replace("DESCRIBED", &described.join(" "))
        .replace("SERVE", &zsh_options(CommandName::Serve))
        .replace("        OPTIONS\n", &options)
}

/// The script for fish.
pub(super) fn fish() -> String {
    let others = CommandName::ALL
        .into_iter()
        .filter(|it| *it != CommandName::Serve);
    let others: Vec<_> = others.map(CommandName::word).chain([HELP]).collect();
    let is_serve = format!("not __fish_seen_subcommand_from {}", others.join(" "));
    let is_none = format!("{is_serve} serve");
    let mut script = String::from(FISH);
    let complete = "complete -c alle";
    for command in CommandName::ALL {
        let (word, summary) = (command.word(), quoted(pages::page(command).summary));
        let _ = writeln!(script, "{complete} -n '{is_none}' -a {word} -d {summary}");
    }
    let summary = quoted(pages::HELP_SUMMARY);
    let _ = writeln!(script, "{complete} -n '{is_none}' -a {HELP} -d {summary}");
    let is_help = format!("__fish_seen_subcommand_from {HELP}");
    let is_shell = format!("{is_help}; and __fish_seen_subcommand_from {COMPLETIONS}");
    let (topics, shells) = (topics().join(" "), Shell::ALL.map(Shell::word).join(" "));
    let topic = format!("{is_help}; and not __fish_seen_subcommand_from {topics}");
    let _ = writeln!(script, "{complete} -n '{topic}' -a '{topics}'");
    let _ = writeln!(script, "{complete} -n '{is_shell}' -a '{shells}'");
    for command in CommandName::ALL {
        let condition = match command {
            CommandName::Serve => is_serve.clone(),
            CommandName::Listen
            | CommandName::Publish
            | CommandName::Demo
            | CommandName::Doctor
            | CommandName::Check
            | CommandName::Config
            | CommandName::Health
            | CommandName::Token => format!("__fish_seen_subcommand_from {}", command.word()),
        };
        for flag in flags::shown(command) {
            let short = flag.short.map(|it| format!(" -s {it}")).unwrap_or_default();
            let value = match known_values(flag) {
                _ if !flag.takes_value() => String::new(),
                Known::Files => " -r -F".to_owned(),
                Known::Words => format!(" -x -a '{LEVELS}'"),
                Known::Nothing => " -x".to_owned(),
            };
            let (long, help) = (flag.long, quoted(summary_of(flag)));
            let _ = writeln!(
                script,
                "{complete} -n '{condition}'{short} -l {long}{value} -d {help}"
            );
        }
    }
    script
}

/// The options of a command, as arguments of zsh's `_arguments`, with a space behind each.
fn zsh_options(command: CommandName) -> String {
    let mut options = String::new();
    for flag in flags::shown(command) {
        let help = summary_of(flag)
            .replace('\\', "\\\\")
            .replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:");
        let value = flag.placeholder().map(|placeholder| {
            let action = match known_values(flag) {
                Known::Files => "_files".to_owned(),
                Known::Words => format!("({LEVELS})"),
                Known::Nothing => " ".to_owned(),
            };
            format!(":{placeholder}:{action}")
        });
        let (long, value) = (flag.long, value.unwrap_or_default());
        let equals = if flag.takes_value() { "=" } else { "" };
        // A list may be typed more than once.
        let repeated = if matches!(flag.value, Value::List(..) | Value::Files(_)) {
            "*"
        } else {
            ""
        };
        let spec = quoted(&format!("{repeated}--{long}{equals}[{help}]{value}"));
        let _ = write!(options, "{spec} ");
        if let Some(short) = flag.short {
            let plus = if flag.takes_value() { "+" } else { "" };
            let spec = quoted(&format!("{repeated}-{short}{plus}[{help}]{value}"));
            let _ = write!(options, "{spec} ");
        }
    }
    options
}

/// What is known of the values of an option.
enum Known {
    Files,
    Words,
    Nothing,
}

fn known_values(flag: &Flag) -> Known {
    match flag.value {
        Value::File(_) | Value::Files(_) => Known::Files,
        Value::Filter(_) => Known::Words,
        Value::Request(_)
        | Value::Switch(_)
        | Value::Text(..)
        | Value::Secret(..)
        | Value::List(..)
        | Value::Count(..)
        | Value::CountOrAuto(_)
        | Value::Bytes(..)
        | Value::Span(..) => Known::Nothing,
    }
}

fn spellings(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|short| format!("-{short}"));
    let long = [format!("--{}", flag.long)];
    short.into_iter().chain(long).collect()
}

fn commands() -> Vec<&'static str> {
    let words = CommandName::ALL.into_iter().map(CommandName::word);
    words.chain([HELP]).collect()
}

fn topics() -> Vec<&'static str> {
    let words = CommandName::ALL.into_iter().map(CommandName::word);
    words.chain([MAN, COMPLETIONS]).collect()
}

/// The first part of the help: a line in a menu has no room for more.
fn summary_of(flag: &Flag) -> &'static str {
    let help = flag.help;
    let end = [": ", "; "].into_iter().filter_map(|it| help.find(it));
    &help[..end.min().unwrap_or(help.len())]
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const LEVELS: &str = "off error warn info debug trace";

const BASH: &str = r#"# Completions of alle for bash. To try: source <(alle help completions bash)
_alle() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD - 1]}"
    local command= topic= word words index
    # Bash splits a word at its equals sign.
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        word="${COMP_WORDS[index]}"
        case "$word" in
            TAKES_VALUE)
                if [[ ${COMP_WORDS[index + 1]} == = ]]; then
                    index=$((index + 1))
                fi
                index=$((index + 1))
                ;;
            -*) ;;
            *)
                if [[ -z $command ]]; then
                    command="$word"
                elif [[ -z $topic ]]; then
                    topic="$word"
                fi
                ;;
        esac
    done
    local IFS=$'\n'
    case "$previous" in
        FILES)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$current"))
            return
            ;;
        FILTERS)
            words='LEVELS'
            COMPREPLY=($(compgen -W "${words// /$IFS}" -- "$current"))
            return
            ;;
        TAKES_VALUE)
            COMPREPLY=()
            return
            ;;
    esac
    case "$command" in
        '') words='COMMANDS SERVE' ;;
        OPTIONS
        help)
            case "$topic" in
                '') words='TOPICS' ;;
                completions) words='SHELLS' ;;
                *) words= ;;
            esac
            ;;
        *) words= ;;
    esac
    COMPREPLY=($(compgen -W "${words// /$IFS}" -- "$current"))
}
complete -F _alle alle
"#;

const ZSH: &str = r#"#compdef alle
# Completions of alle for zsh: a file _alle in the fpath, or source <(alle help completions zsh)
_alle() {
    local curcontext="$curcontext" context state state_descr line
    typeset -A opt_args
    local -a commands=(DESCRIBED)
    _arguments -C -s SERVE'1: :->command' '*:: :->operands'
    case $state in
    command)
        _describe -t commands command commands
        ;;
    operands)
        case $words[1] in
        OPTIONS
        help)
            _arguments '1:topic:(TOPICS)' '2:shell:(SHELLS)'
            ;;
        esac
        ;;
    esac
}
if [[ $funcstack[1] == _alle ]]; then
    _alle "$@"
else
    compdef _alle alle
fi
"#;

const FISH: &str = "\
# Completions of alle for fish: a file alle.fish in ~/.config/fish/completions
complete -c alle -f
";
