//! The findings: each subject with its verdict and the remedy.
//!
//! Reads the state of the sessions and changes nothing.

use std::{fmt, time::Duration};

use crate::{
    backend::{Backend, Role},
    channel::LengthUnit,
    pg::{
        config::{Host, SslMode},
        session::Session,
    },
};

/// The result for one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The subject, in a word or two.
    pub subject: String,
    /// The observation.
    pub text: String,
    /// The remedy, if there is one.
    pub remedy: Option<String>,
}

/// The verdict on a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, with a reservation.
    Doubtful,
    /// A bridge cannot work with it.
    Bad,
}

impl fmt::Display for Finding {
    /// One line, and the remedy on a second one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Doubtful => "note",
            Verdict::Bad => "BAD ",
        };
        write!(f, "{mark}  {:<20} {}", self.subject, self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:27}-> {remedy}", ""),
            None => Ok(()),
        }
    }
}

/// All findings; `heard_after` is the time from the start of the publishing session to the arrival
/// of its notification.
pub(super) fn judge(backend: &Backend, heard_after: Option<Duration>) -> Vec<Finding> {
    let mut findings = surroundings(backend);
    for role in Role::PAIR {
        findings.push(connection(backend, role));
        if let Some(session) = backend.session(role) {
            findings.extend(encryption(backend, role));
            findings.extend(relay(session, role));
        }
    }
    if let Some(session) = backend.session(Role::Listening) {
        findings.push(encoding(session));
        findings.extend(session.queue_usage().map(queue));
    }
    findings.push(hearing(backend, heard_after));
    findings.extend(function(backend));
    findings
}

pub(super) fn finding(
    verdict: Verdict,
    subject: impl Into<String>,
    text: impl Into<String>,
) -> Finding {
    Finding {
        verdict,
        subject: subject.into(),
        text: text.into(),
        remedy: None,
    }
}

impl Finding {
    pub(super) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

/// What lies around the connection strings and is not used, once for both of them.
fn surroundings(backend: &Backend) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::PAIR {
        for warning in &backend.config(role).warnings {
            let finding = finding(Verdict::Doubtful, "settings", warning.to_string());
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

fn connection(backend: &Backend, role: Role) -> Finding {
    let subject = format!("{role} session");
    if let Some(failure) = backend.failure(role) {
        return Finding {
            verdict: Verdict::Bad,
            subject,
            text: failure.to_string(),
            remedy: failure.remedy().map(str::to_owned),
        };
    }
    let server = backend.server(role);
    match backend.session(role) {
        Some(session) => {
            let version = session.server_version().unwrap_or("of unknown version");
            finding(
                Verdict::Good,
                subject,
                format!("PostgreSQL {version} at {server}"),
            )
        }
        None => finding(Verdict::Bad, subject, format!("no answer from {server}"))
            .with_remedy("check the address, and what lies between"),
    }
}

fn encryption(backend: &Backend, role: Role) -> Option<Finding> {
    let subject = format!("{role} TLS");
    let Host::Tcp(host) = &backend.server(role).host else {
        return None;
    };
    let is_near = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let verified = "sslmode=verify-full with sslrootcert=FILE or sslrootcert=system";
    if let Some(why) = backend.tls_given_up(role) {
        let text = format!("off: it failed ({why}), and sslmode=prefer goes on in clear text");
        let remedy = "mend that; sslmode=require goes on with TLS or not at all";
        return Some(finding(Verdict::Doubtful, subject, text).with_remedy(remedy));
    }
    Some(
        match (backend.is_secure(role), backend.config(role).tls.mode) {
            (true, SslMode::VerifyFull) => {
                finding(Verdict::Good, subject, "on, the server is verified")
            }
            (true, _) if is_near => finding(Verdict::Good, subject, "on"),
            (true, _) => finding(
                Verdict::Doubtful,
                subject,
                "on, but a machine in between can pose as the server",
            )
            .with_remedy(verified),
            (false, _) if is_near => finding(Verdict::Good, subject, "off, on this machine"),
            (false, _) => finding(
                Verdict::Doubtful,
                subject,
                "off: the network can read everything, with some methods the password too",
            )
            .with_remedy(verified),
        },
    )
}

fn relay(session: &Session, role: Role) -> Option<Finding> {
    session.is_relayed().then(|| {
        let text = "the answers come from another process than the greeting: there is a pooler";
        finding(Verdict::Doubtful, format!("{role} pooler"), text)
            .with_remedy("LISTEN needs a pool in session mode, or none: see --pg-listen-url")
    })
}

fn encoding(session: &Session) -> Finding {
    let name = session.server_encoding().unwrap_or("unknown");
    match (name, LengthUnit::of(Some(name))) {
        ("SQL_ASCII", _) => finding(
            Verdict::Doubtful,
            "encoding",
            "SQL_ASCII: payloads may hold any bytes; those that are not UTF-8 are delivered with \"lossy\"",
        ),
        (_, LengthUnit::Utf8) => finding(Verdict::Good, "encoding", name),
        (_, LengthUnit::Server) => finding(
            Verdict::Doubtful,
            "encoding",
            format!("{name}: characters outside it are refused, and each publish is a transaction"),
        ),
    }
}

fn queue(usage: f64) -> Finding {
    let text = format!("{:.1} % full", usage * 100.0);
    if usage < QUEUE_USAGE_DOUBTFUL {
        return finding(Verdict::Good, "notification queue", text);
    }
    let text = format!("{text}; when it is full every NOTIFY of the server fails");
    finding(Verdict::Doubtful, "notification queue", text).with_remedy(
        "a session listens and does not read, mostly because of a long transaction: \
         see pg_stat_activity",
    )
}

fn hearing(backend: &Backend, heard_after: Option<Duration>) -> Finding {
    let subject = "LISTEN and NOTIFY";
    if let Some(heard_after) = heard_after {
        let text = format!(
            "a notification of one session reaches the other, after {:.1} ms",
            heard_after.as_secs_f64() * 1000.0
        );
        return finding(Verdict::Good, subject, text);
    }
    if let Some(refusal) = backend.refusal() {
        let text = format!("the server refuses to notify: {refusal}");
        let finding = finding(Verdict::Bad, subject, text);
        return match refusal.sqlstate.as_str() {
            "42501" => finding.with_remedy(
                "GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) to the role",
            ),
            "54000" => finding.with_remedy(
                "the queue is full: end the session in pg_stat_activity that listens and stays in \
                 a transaction",
            ),
            _ => finding,
        };
    }
    if Role::PAIR.into_iter().all(|role| backend.is_up(role)) {
        let text = "the server did not commit a notification in time";
        return finding(Verdict::Bad, subject, text).with_remedy("see why with -l warn");
    }
    let text = "not tried without both sessions, or the notification did not arrive";
    finding(Verdict::Bad, subject, text).with_remedy("first correct the findings above")
}

/// Of the function that says whose a token is, where there is one.
fn function(backend: &Backend) -> Option<Finding> {
    let function = backend.function()?;
    let subject = "token function";
    let verdict = match backend.function_verdict() {
        Some(verdict) => verdict,
        None if backend.failure(Role::Authorizing).is_some() => {
            return Some(connection(backend, Role::Authorizing));
        }
        None => {
            let text = format!("PostgreSQL does not say in time whether {function} can be called");
            return Some(finding(Verdict::Bad, subject, text).with_remedy("see why with -l warn"));
        }
    };
    Some(match verdict {
        Ok(()) => finding(Verdict::Good, subject, format!("{function} can be called")),
        Err(fault) => finding(Verdict::Bad, subject, fault.to_string())
            .with_remedy(fault.remedy(&backend.config(Role::Authorizing).user)),
    })
}

/// The queue fills slowly: at a half, an operator has time to look.
const QUEUE_USAGE_DOUBTFUL: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_remedy_another() {
        let good = finding(Verdict::Good, "encoding", "UTF8");
        assert_eq!(good.to_string(), "ok    encoding             UTF8");
        let bad = finding(Verdict::Bad, "x", "y").with_remedy("z");
        assert_eq!(
            bad.to_string(),
            "BAD   x                    y\n                           -> z"
        );
    }

    #[test]
    fn a_queue_that_fills_up_is_doubtful_from_a_half_on() {
        for (usage, verdict) in [
            (0.0, Verdict::Good),
            (0.499, Verdict::Good),
            (0.5, Verdict::Doubtful),
            (1.0, Verdict::Doubtful),
        ] {
            assert_eq!(queue(usage).verdict, verdict, "{usage}");
        }
    }
}
