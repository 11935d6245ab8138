//! Every parameter that libpq knows, its variable, and the texts given for it.
//!
//! What was said first wins: the sources are read in their order. Knows no grammar and no meaning
//! of a value.

use std::collections::BTreeMap;

use super::{
    error::ConfigError,
    password::Password,
    surroundings::{Around, text_of},
};

/// Texts by the name of their parameter, none of them empty, none with a NUL.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    texts: BTreeMap<&'static str, String>,
    /// Apart, for it may be in any encoding.
    password: Option<Password>,
    /// What was written behind a password without quotes: a piece of it, perhaps.
    doubtful: Vec<&'static str>,
}

impl Settings {
    /// The variables, for what nobody said.
    pub(super) fn read_environment(&mut self, around: &Around<'_>) -> Result<(), ConfigError> {
        for (name, variable) in PARAMETERS {
            let Some(variable) = variable else { continue };
            if self.has(name) {
                continue;
            }
            if let Some(bytes) = around.variable(variable) {
                self.set(name, bytes, variable)?;
            }
        }
        // The old way to demand TLS, which libpq still honours (CVE-2017-7485).
        let requires_tls = around.variable("PGREQUIRESSL");
        if requires_tls.is_some_and(|text| text.starts_with(b"1")) && !self.has("sslmode") {
            self.texts.insert("sslmode", "require".to_owned());
        }
        Ok(())
    }

    /// The parameter of this name, if there is one.
    pub(super) fn name_of(name: &str) -> Option<&'static str> {
        let found = PARAMETERS.iter().find(|(known, _)| *known == name);
        found.map(|(known, _)| *known)
    }

    /// Replaces the parameter of this name, however old its name is; `false` if there is none.
    pub(super) fn set_named(&mut self, name: &str, bytes: Vec<u8>) -> Result<bool, ConfigError> {
        if name == "requiressl" {
            let mode = match bytes.first() {
                Some(b'1') => "require",
                Some(_) | None => "prefer",
            };
            self.texts.insert("sslmode", mode.to_owned());
            return Ok(true);
        }
        match Self::name_of(name) {
            Some(known) => self.set(known, bytes, known).map(|()| true),
            None => Ok(false),
        }
    }

    /// Replaces `name`; an empty one takes it away. `part` says where a fault is.
    pub(super) fn set(
        &mut self,
        name: &'static str,
        bytes: Vec<u8>,
        part: &'static str,
    ) -> Result<(), ConfigError> {
        self.remove(name);
        if bytes.is_empty() {
            return Ok(());
        }
        if name == "password" {
            if bytes.contains(&0) {
                return Err(ConfigError::Nul { part });
            }
            self.password = Some(Password::new(bytes));
        } else {
            self.texts.insert(name, text_of(bytes, part)?);
        }
        Ok(())
    }

    /// Takes note that the text of `name` may be a piece of the password.
    pub(super) fn doubt(&mut self, name: &str) {
        self.doubtful.extend(Self::name_of(name));
    }

    /// Whether it may be.
    pub(super) fn is_doubtful(&self, name: &str) -> bool {
        self.doubtful.contains(&name)
    }

    /// The texts of `other`, for what is not set here.
    pub(super) fn add_defaults(&mut self, other: Self) {
        for (name, text) in other.texts {
            self.texts.entry(name).or_insert(text);
        }
        self.password = self.password.take().or(other.password);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.texts.contains_key(name) || name == "password" && self.password.is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.texts.remove(name)
    }

    pub(super) fn take_password(&mut self) -> Option<Password> {
        self.password.take()
    }

    fn remove(&mut self, name: &str) {
        if name == "password" {
            self.password = None;
        }
        self.texts.remove(name);
    }
}

/// PostgreSQL, "Parameter Key Words" and "Environment Variables".
const PARAMETERS: &[(&str, Option<&str>)] = &[
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("dbname", Some("PGDATABASE")),
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("application_name", Some("PGAPPNAME")),
    ("fallback_application_name", None),
    ("options", Some("PGOPTIONS")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslsni", Some("PGSSLSNI")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
    ("tcp_user_timeout", None),
    // Taken and of no effect, for want of anything that they could change.
    ("client_encoding", Some("PGCLIENTENCODING")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("gsslib", Some("PGGSSLIB")),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    // Refused, see below.
    ("gssencmode", Some("PGGSSENCMODE")),
    ("replication", None),
    ("sslpassword", None),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkeylogfile", None),
    ("scram_client_key", None),
    ("scram_server_key", None),
    ("oauth_issuer", None),
    ("oauth_client_id", None),
    ("oauth_client_secret", None),
    ("oauth_scope", None),
];

/// What we cannot do, and the values that do not ask for it.
pub(super) const UNSUPPORTED: &[(&str, &[&str])] = &[
    ("gssencmode", &["disable", "prefer"]),
    ("replication", &["false", "off", "no", "0"]),
    ("sslcertmode", &["disable", "allow"]),
    ("sslcompression", &["0", "1"]),
    ("sslpassword", &[]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslkeylogfile", &[]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
    ("oauth_issuer", &[]),
    ("oauth_client_id", &[]),
    ("oauth_client_secret", &[]),
    ("oauth_scope", &[]),
];
