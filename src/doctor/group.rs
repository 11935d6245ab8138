//! The findings on a group: whether its channel is heard, who is there, and whether they answer.
//!
//! Reads a roll call and changes nothing.

use super::findings::{Finding, Verdict, finding};
use crate::hub::group::{Reply, RollCall};

/// The findings on the group of this name.
pub(super) fn judge(call: &RollCall, name: &str) -> Vec<Finding> {
    let mut findings = vec![channel(call, name)];
    if call.is_heard() {
        findings.push(bridges(call));
        findings.extend(deaf(call));
        findings.extend(others(
            call,
            Reply::OtherKey,
            (
                Verdict::Bad,
                "seal their messages with another key, or with none",
            ),
        ));
        findings.extend(others(
            call,
            Reply::OtherVersion,
            (Verdict::Doubtful, "speak another version of the protocol"),
        ));
    }
    findings
}

fn channel(call: &RollCall, name: &str) -> Finding {
    let control = call.control().as_str();
    if !call.is_heard() {
        let text = format!("{name:?}: a message on its channel {control:?} does not come back");
        return finding(Verdict::Bad, SUBJECT, text)
            .with_remedy("both sessions have to reach the same database, without a pooler");
    }
    let sealed = if call.has_key() {
        "messages are sealed with the key"
    } else {
        "without a key, so whoever shares the role is believed"
    };
    let text = format!("{name:?}: its channel {control:?} is heard; {sealed}");
    finding(Verdict::Good, SUBJECT, text)
}

fn bridges(call: &RollCall) -> Finding {
    let present = backends(call, Reply::Present);
    let text = if present.is_empty() {
        "no other one answers".to_owned()
    } else {
        let version = RollCall::VERSION;
        format!(
            "{} that answer, in version {version} of the protocol: {}",
            present.len(),
            list(&present)
        )
    };
    finding(Verdict::Good, PEERS, text)
}

/// PostgreSQL knows that they are in the group.
fn deaf(call: &RollCall) -> Option<Finding> {
    let deaf = backends(call, Reply::None);
    (!deaf.is_empty()).then(|| {
        let text = format!(
            "{} that are there and do not answer: {}",
            deaf.len(),
            list(&deaf)
        );
        finding(Verdict::Bad, PEERS, text).with_remedy(
            "give each bridge of the group the same --group-key-file (compare by sha256sum) or, \
             without one, the same role; or it hangs",
        )
    })
}

fn others(call: &RollCall, reply: Reply, (verdict, what): (Verdict, &str)) -> Option<Finding> {
    let backends = backends(call, reply);
    (!backends.is_empty()).then(|| {
        let text = format!("{} that {what}: {}", backends.len(), list(&backends));
        let remedy = match verdict {
            Verdict::Bad => "give each bridge of the group the same --group-key-file",
            Verdict::Good | Verdict::Doubtful => {
                "clients that change between them and the others have to reload: upgrade the rest"
            }
        };
        finding(verdict, PEERS, text).with_remedy(remedy)
    })
}

fn backends(call: &RollCall, reply: Reply) -> Vec<i32> {
    let replies = call.replies().filter(|&(_, it)| it == reply);
    replies.map(|(pid, _)| pid).collect()
}

/// As `pg_stat_activity` names them.
fn list(pids: &[i32]) -> String {
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    format!("backend {}", pids.join(", "))
}

const SUBJECT: &str = "group";
const PEERS: &str = "bridges of the group";
