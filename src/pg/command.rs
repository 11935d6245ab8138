//! What we say to the backend: the only SQL text, and the only quoting, of the program.
//!
//! Functions, tables, types and operators are named with their schema: a role may have others of
//! the same name before `pg_catalog` in its search_path.
//!
//! Each function appends complete frontend messages to a buffer. Knows nothing of answers, order
//! or time.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use postgres_protocol::{IsNull, message::frontend};

use super::{
    config::Config,
    error::ProtocolError,
    function::{Form, FunctionName, Question},
};
use crate::channel::{Channel, Payload};

/// StartupMessage of protocol 3.0.
///
/// No setting but `client_encoding`, since one that an old server does not know is fatal here; the
/// rest waits for [`set_up`].
pub(super) fn startup(
    config: &Config,
    default_application_name: &str,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let application_name = config
        .application_name
        .as_deref()
        .unwrap_or(default_application_name);
    let options = config
        .options
        .as_deref()
        .map(|options| ("options", options));
    let parameters = [
        ("user", config.user.as_str()),
        ("database", &config.database),
        ("application_name", application_name),
        ("client_encoding", "UTF8"),
    ];
    frontend::startup_message(parameters.into_iter().chain(options), out)
        .map_err(|_| ProtocolError::Nul)
}

/// PasswordMessage: the password itself or its MD5 hash.
pub(super) fn password(password: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
    frontend::password_message(password, out).map_err(|_| ProtocolError::Nul)
}

/// SASLInitialResponse.
pub(super) fn sasl_initial(
    mechanism: &str,
    data: &[u8],
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    frontend::sasl_initial_response(mechanism, data, out).map_err(|_| ProtocolError::Nul)
}

/// SASLResponse.
pub(super) fn sasl(data: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
    frontend::sasl_response(data, out).map_err(|_| ProtocolError::Nul)
}

/// Asks who serves us, of what kind the server is and since when it runs: one row of four columns,
/// for poolers and servers before PostgreSQL 14 do not say. Then lifts every timeout this server knows:
/// `idle_session_timeout` kills a listener even while notifications reach it, and a name missing
/// from `pg_settings` is passed over in silence.
pub(super) fn set_up(out: &mut BytesMut) {
    simple(
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('transaction_read_only'), \
         (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) \
         OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8; \
         SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
         WHERE name OPERATOR(pg_catalog.=) ANY ('{idle_session_timeout, statement_timeout, \
         transaction_timeout, idle_in_transaction_session_timeout, lock_timeout}'::pg_catalog.text[])",
        out,
    );
}

/// For a server that checks no encoding: with UTF8 asked for, the first invalid byte in anybody's
/// payload would be fatal to us.
pub(super) fn set_client_encoding_sql_ascii(out: &mut BytesMut) {
    simple("SET client_encoding TO 'SQL_ASCII'", out);
}

/// Asks how long the name of `channel` is in the server's encoding, and for the name as it comes back
/// from there: one row of two columns.
pub(super) fn name(channel: &Channel, out: &mut BytesMut) {
    // Whatever standard_conforming_strings says, this means the same.
    let literal = channel.as_str().replace('\\', "\\\\").replace('\'', "''");
    simple(
        &format!(
            "SELECT pg_catalog.octet_length(name), name \
             FROM (SELECT E'{literal}'::pg_catalog.text AS name) AS asked"
        ),
        out,
    );
}

/// Starts to hear `channel`. It takes no parameter, so the name is quoted.
pub(super) fn listen(channel: &Channel, out: &mut BytesMut) {
    simple(&format!("LISTEN {}", quoted(channel)), out);
}

/// Appends one more LISTEN to the last message of `out`, which is a query of those and begins there.
pub(super) fn listen_too(channel: &Channel, start: usize, out: &mut BytesMut) {
    // Its last byte is a NUL, and its length does not count the tag (PostgreSQL, "Message Formats").
    out.truncate(out.len() - 1);
    out.put_slice(format!("; LISTEN {}\0", quoted(channel)).as_bytes());
    let length = i32::try_from(out.len() - start - 1).expect("names are short and so many few");
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

/// Ceases to hear `channel`.
pub(super) fn unlisten(channel: &Channel, out: &mut BytesMut) {
    simple(&format!("UNLISTEN {}", quoted(channel)), out);
}

/// Publishes each of them, as parameters: nothing to quote. One Sync, so one transaction.
pub(super) fn notify<'a>(
    notifications: impl IntoIterator<Item = (&'a Channel, &'a Payload)>,
    out: &mut BytesMut,
) {
    const VALID: &str = "a channel and a payload are short and the SQL has no NUL";
    frontend::parse("", "SELECT pg_catalog.pg_notify($1, $2)", [], out).expect(VALID);
    for (channel, payload) in notifications {
        execute(&[channel.as_str(), payload.as_str()], out);
    }
    frontend::sync(out);
}

/// The statement that was parsed last, with these parameters.
fn execute(parameters: &[&str], out: &mut BytesMut) {
    const VALID: &str = "a channel and a payload are short";
    let write = |text: &&str, out: &mut BytesMut| {
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    };
    let bound = frontend::bind("", "", [], parameters, write, [], out);
    assert!(bound.is_ok(), "{VALID}");
    frontend::execute("", 0, out).expect(VALID);
}

/// Publishes, unless the server's encoding turns the name into another one or makes it too long: then
/// there is no row in the answer.
pub(super) fn notify_if_kept(channel: &Channel, payload: &Payload, out: &mut BytesMut) {
    const VALID: &str = "a channel and a payload are short and the SQL has no NUL";
    let sql = format!(
        "SELECT pg_catalog.pg_notify($1, $2) \
         WHERE pg_catalog.convert_to($1, 'UTF8') OPERATOR(pg_catalog.=) $3 \
         AND pg_catalog.octet_length($1) OPERATOR(pg_catalog.<=) {}",
        Channel::BYTES_MAX
    );
    frontend::parse("", &sql, [], out).expect(VALID);
    let mut bytes = String::from("\\x");
    for byte in channel.as_str().bytes() {
        let _infallible = write!(bytes, "{byte:02x}");
    }
    execute(&[channel.as_str(), payload.as_str(), &bytes], out);
    frontend::sync(out);
}

/// Publishes each of them by the command that needs no privilege, in one transaction.
pub(super) fn notify_plainly<'a>(
    notifications: impl IntoIterator<Item = (&'a Channel, &'a Payload)>,
    out: &mut BytesMut,
) {
    let commands = notifications.into_iter().map(|(channel, payload)| {
        let payload = literal(payload.as_str());
        format!("NOTIFY {}, {payload}", quoted(channel))
    });
    simple(&commands.collect::<Vec<_>>().join("; "), out);
}

/// For a session on which a function is asked about tokens: it changes nothing, and holds nobody up.
/// Of the two limits that for a lock comes first: so a wait for somebody else is told from a function
/// that takes too long.
pub(super) fn set_up_calls(out: &mut BytesMut) {
    simple(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET lock_timeout TO '4s'; \
         SET statement_timeout TO '5s'",
        out,
    );
}

/// Asks whether the function can be called, and calls it not: a plan is made, and the executor looks
/// at the privileges as it does before a call. No argument is a constant, which the planner would
/// call the function with, or leave it out.
pub(super) fn check_call(function: &FunctionName, form: Form, out: &mut BytesMut) {
    const TEXT: &str = "pg_catalog.current_setting('application_name')";
    let call = call_statement(function, form, [TEXT; 3]);
    simple(&format!("EXPLAIN {call}"), out);
}

/// Asks the function, by its prepared statement, which is prepared first where that is asked for. One
/// Sync, so one transaction.
pub(super) fn call(
    function: &FunctionName,
    form: Form,
    question: &Question<'_>,
    prepares: bool,
    out: &mut BytesMut,
) {
    const VALID: &str = "a token, an address and a path are short, and nothing has a NUL";
    if prepares {
        // One of this name may be there, and may be out of date.
        frontend::close(b'S', CALL_STATEMENT, out).expect(VALID);
        let statement = call_statement(function, form, PARAMETERS);
        frontend::parse(CALL_STATEMENT, &statement, [], out).expect(VALID);
    }
    let parameters = [Some(question.token), question.address, question.path];
    let count = match form {
        Form::Three => 3,
        Form::One => 1,
    };
    let write = |text: Option<&str>, out: &mut BytesMut| {
        Ok(match text {
            Some(text) => {
                out.put_slice(text.as_bytes());
                IsNull::No
            }
            None => IsNull::Yes,
        })
    };
    let parameters = parameters.into_iter().take(count);
    let bound = frontend::bind("", CALL_STATEMENT, [], parameters, write, [BINARY], out);
    assert!(bound.is_ok(), "{VALID}");
    frontend::execute("", 0, out).expect(VALID);
    frontend::sync(out);
}

/// The columns by their names, so that their order in the function is of no matter.
fn call_statement(function: &FunctionName, form: Form, arguments: [&str; 3]) -> String {
    let [token, address, path] = arguments;
    let name = format!(
        "{}.{}",
        identifier(&function.schema),
        identifier(&function.name)
    );
    match form {
        Form::Three => format!(
            "SELECT identity::pg_catalog.text, subscribe::pg_catalog.text[], \
             publish::pg_catalog.text[], \
             CASE WHEN pg_catalog.isfinite(expires) \
             THEN (pg_catalog.date_part('epoch', expires) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8 \
             WHEN expires OPERATOR(pg_catalog.<) pg_catalog.now() THEN 0 END \
             FROM {name}({token}::pg_catalog.text, {address}::pg_catalog.text, \
             {path}::pg_catalog.text)"
        ),
        Form::One => format!(
            "SELECT user_id::pg_catalog.text, authenticated::pg_catalog.bool \
             FROM {name}({token}::pg_catalog.text)"
        ),
    }
}

/// The name of the prepared statement.
const CALL_STATEMENT: &str = "alle_auth";
/// What it is called with.
const PARAMETERS: [&str; 3] = ["$1", "$2", "$3"];
/// The format code of binary values.
const BINARY: i16 = 1;

/// An empty query, the cheapest question that is answered by ReadyForQuery.
pub(super) fn heartbeat(out: &mut BytesMut) {
    simple("", out);
}

/// Asks how full the queue of notifications is, from 0 to 1. On the way the server forgets what
/// every listener has read (PostgreSQL, "Session Information Functions").
pub(super) fn queue_usage(out: &mut BytesMut) {
    simple("SELECT pg_catalog.pg_notification_queue_usage()", out);
}

/// Asks which process holds the lock for NOTIFY: one row of one column, or none.
pub(super) fn lock_holder(out: &mut BytesMut) {
    simple(
        "SELECT pid FROM pg_catalog.pg_locks \
         WHERE locktype OPERATOR(pg_catalog.=) 'object' AND granted \
         AND database OPERATOR(pg_catalog.=) 0 AND objid OPERATOR(pg_catalog.=) 0 \
         AND classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass LIMIT 1",
        out,
    );
}

/// Asks which of these backends are there, and are of our own role where that is asked for: one row
/// of one column, their numbers with commas in between, or null.
pub(super) fn present(pids: &[i32], own_role: bool, out: &mut BytesMut) {
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    let pids = pids.join(",");
    let role = if own_role {
        " AND usesysid OPERATOR(pg_catalog.=) (SELECT usesysid FROM pg_catalog.pg_stat_activity \
         WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"
    } else {
        ""
    };
    let sql = format!(
        "SELECT pg_catalog.string_agg(pid::pg_catalog.text, ',') \
         FROM pg_catalog.pg_stat_activity \
         WHERE pid OPERATOR(pg_catalog.=) ANY ('{{{pids}}}'::pg_catalog.int4[]){role}"
    );
    simple(&sql, out);
}

/// Asks which other backends of the database hold the advisory lock of this number: one row as of
/// [`present`]. Where `joins`, the session holds it first, beside them and until its end, which is a
/// row before that.
pub(super) fn members(lock: i64, joins: bool, out: &mut BytesMut) {
    let (high, low) = (lock >> 32 & 0xffff_ffff, lock & 0xffff_ffff);
    let join = if joins {
        format!("SELECT pg_catalog.pg_try_advisory_lock_shared('{lock}'::pg_catalog.int8); ")
    } else {
        String::new()
    };
    let sql = format!(
        "{join}SELECT pg_catalog.string_agg(pid::pg_catalog.text, ',') FROM pg_catalog.pg_locks \
         WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted \
         AND classid OPERATOR(pg_catalog.=) '{high}'::pg_catalog.oid \
         AND objid OPERATOR(pg_catalog.=) '{low}'::pg_catalog.oid \
         AND objsubid OPERATOR(pg_catalog.=) 1 \
         AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() \
         AND database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"
    );
    simple(&sql, out);
}

/// CancelRequest, for a connection of its own.
pub(super) fn cancel_request(process_id: i32, secret_key: i32, out: &mut BytesMut) {
    frontend::cancel_request(process_id, secret_key, out);
}

/// Terminate.
pub(super) fn terminate(out: &mut BytesMut) {
    frontend::terminate(out);
}

/// One Query: its own transaction, its own ReadyForQuery.
fn simple(sql: &str, out: &mut BytesMut) {
    frontend::query(sql, out).expect("our SQL is short, and channels and payloads have no NUL");
}

/// An identifier to the letter: any character may stand in it once `"` is doubled.
fn quoted(channel: &Channel) -> String {
    identifier(channel.as_str())
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string to the letter, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let doubled = text.replace('\\', r"\\").replace('\'', "''");
    format!("E'{doubled}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        write(&mut out);
        out
    }

    fn config() -> Config {
        Config::parse("postgres://ann@db/x", &|_| None).unwrap()
    }

    #[test]
    fn channel_names_are_quoted_to_the_letter() {
        for (name, sql) in [
            ("orders", "LISTEN \"orders\""),
            ("Two Words", "LISTEN \"Two Words\""),
            ("a\"b", "LISTEN \"a\"\"b\""),
            ("\"; DROP TABLE t; --", "LISTEN \"\"\"; DROP TABLE t; --\""),
            ("a\\b", "LISTEN \"a\\b\""),
        ] {
            let channel = Channel::new(name).unwrap();
            let expected = bytes(|out| simple(sql, out));
            assert_eq!(bytes(|out| listen(&channel, out)), expected);
            let expected = bytes(|out| simple(&format!("UN{sql}"), out));
            assert_eq!(bytes(|out| unlisten(&channel, out)), expected);
        }
    }

    #[test]
    fn a_name_is_asked_for_to_the_letter() {
        for (text, literal) in [
            ("é", "E'é'"),
            ("a'b", "E'a''b'"),
            ("a\\b", "E'a\\\\b'"),
            ("\\'; DROP TABLE t; --", "E'\\\\''; DROP TABLE t; --'"),
        ] {
            let channel = Channel::new(text).unwrap();
            let sql = format!(
                "SELECT pg_catalog.octet_length(name), name \
                 FROM (SELECT {literal}::pg_catalog.text AS name) AS asked"
            );
            let expected = bytes(|out| simple(&sql, out));
            assert_eq!(bytes(|out| name(&channel, out)), expected, "{text}");
        }
    }

    #[test]
    fn notifications_of_one_transaction_are_executed_one_by_one_before_one_sync() {
        let channel = Channel::new("c'").unwrap();
        let payloads = ["$1", "x"].map(|it| Payload::new(it).unwrap());
        let expected: &[u8] = b"P\0\0\0\x2b\0SELECT pg_catalog.pg_notify($1, $2)\0\0\0\
              B\0\0\0\x18\0\0\0\0\0\x02\0\0\0\x02c'\0\0\0\x02$1\0\0\
              E\0\0\0\x09\0\0\0\0\0\
              B\0\0\0\x17\0\0\0\0\0\x02\0\0\0\x02c'\0\0\0\x01x\0\0\
              E\0\0\0\x09\0\0\0\0\0\
              S\0\0\0\x04";
        let pairs = payloads.iter().map(|payload| (&channel, payload));
        assert_eq!(bytes(|out| notify(pairs, out)), expected);
    }

    #[test]
    fn the_command_quotes_payloads_to_the_letter() {
        let channel = Channel::new("a\"b").unwrap();
        let payloads = [r"it's \n", "'; DROP TABLE t; --", ""].map(|it| Payload::new(it).unwrap());
        let pairs = payloads.iter().map(|payload| (&channel, payload));
        let sql = concat!(
            r#"NOTIFY "a""b", E'it''s \\n'; "#,
            r#"NOTIFY "a""b", E'''; DROP TABLE t; --'; "#,
            r#"NOTIFY "a""b", E''"#
        );
        let expected = bytes(|out| simple(sql, out));
        assert_eq!(bytes(|out| notify_plainly(pairs, out)), expected);
    }

    #[test]
    fn a_function_is_asked_by_its_prepared_statement() {
        let function = FunctionName::parse("auth.Check It").unwrap();
        let question = Question {
            token: "'; --",
            address: None,
            path: Some("/ws"),
        };
        let again = bytes(|out| call(&function, Form::Three, &question, false, out));
        let expected: &[u8] = b"B\0\0\0\x2b\0alle_auth\0\0\0\0\x03\0\0\0\x05'; --\xff\xff\xff\xff\
              \0\0\0\x03/ws\0\x01\0\x01E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
        assert_eq!(again, expected);
        let first = bytes(|out| call(&function, Form::One, &question, true, out));
        let text = String::from_utf8_lossy(&first).into_owned();
        assert!(text.starts_with("C\0\0\0\x0fSalle_auth\0P"), "{text}");
        assert!(text.contains("FROM \"auth\".\"Check It\"($1::pg_catalog.text)\0"));
    }

    #[test]
    fn the_heartbeat_is_an_empty_query() {
        assert_eq!(bytes(heartbeat), &b"Q\0\0\0\x05\0"[..]);
        assert_eq!(bytes(terminate), &b"X\0\0\0\x04"[..]);
    }

    #[test]
    fn a_cancel_request_names_the_process_and_its_secret() {
        let expected = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09";
        assert_eq!(bytes(|out| cancel_request(7, 9, out)), &expected[..]);
    }

    #[test]
    fn start_up_names_only_what_every_server_knows() {
        let out = bytes(|out| startup(&config(), "alle", out).unwrap());
        let expected: &[u8] = b"\0\0\0\x48\0\x03\0\0user\0ann\0database\0x\0\
              application_name\0alle\0client_encoding\0UTF8\0\0";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_configured_name_and_options_win() {
        let config = Config {
            application_name: Some("own".to_owned()),
            options: Some("-c a=b".to_owned()),
            ..config()
        };
        let out = bytes(|out| startup(&config, "alle", out).unwrap());
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains("application_name\0own\0"));
        assert!(text.ends_with("options\0-c a=b\0\0"));
        let config = Config {
            user: "a\0b".to_owned(),
            ..config
        };
        assert_eq!(
            startup(&config, "alle", &mut BytesMut::new()),
            Err(ProtocolError::Nul)
        );
    }
}
