//! Every parameter that libpq knows, its variable, and the texts given for it.
//!
//! What was said first wins: the sources are read in their order. Knows no meaning of a value.

use std::collections::BTreeMap;

use super::{ConfigError, Surroundings, keyword, url};

/// Texts by the name of their parameter, none of them empty, none with a NUL.
#[derive(Default)]
pub(super) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// A connection URI, or keywords and values.
    pub(super) fn read_string(&mut self, text: &str) -> Result<(), ConfigError> {
        if url::is_url(text) {
            url::read(text, self)
        } else if keyword::is_list(text) {
            keyword::read(text, self)
        } else {
            Err(ConfigError::Scheme)
        }
    }

    /// The variables, for what nobody said.
    pub(super) fn read_environment(
        &mut self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        for (name, variable) in PARAMETERS {
            let Some(variable) = variable else { continue };
            if self.0.contains_key(name) {
                continue;
            }
            if let Some(text) = environment(variable).filter(|text| !text.is_empty()) {
                if text.contains('\0') {
                    return Err(ConfigError::Nul { part: variable });
                }
                self.0.insert(name, text);
            }
        }
        Ok(())
    }

    /// One variable that belongs to no parameter.
    pub(super) fn variable(
        around: Surroundings<'_>,
        name: &'static str,
    ) -> Result<Option<String>, ConfigError> {
        match (around.variable)(name).filter(|text| !text.is_empty()) {
            Some(text) if text.contains('\0') => Err(ConfigError::Nul { part: name }),
            found => Ok(found),
        }
    }

    /// The parameter of this name, if there is one.
    pub(super) fn name_of(name: &str) -> Option<&'static str> {
        let found = PARAMETERS.iter().find(|(known, _)| *known == name);
        found.map(|(known, _)| *known)
    }

    /// Replaces the text of `name`; an empty one takes it away.
    pub(super) fn set(&mut self, name: &'static str, text: String) {
        if text.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name, text);
        }
    }

    /// Sets `name` unless it is set.
    pub(super) fn set_default(&mut self, name: &'static str, text: String) {
        if !text.is_empty() {
            self.0.entry(name).or_insert(text);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
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
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslsni", Some("PGSSLSNI")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    // Of no effect on us: the encoding is ours to choose, dead peers are found by a heartbeat.
    ("client_encoding", None),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
    ("tcp_user_timeout", None),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("gsslib", Some("PGGSSLIB")),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    // Refused, see below.
    ("gssencmode", Some("PGGSSENCMODE")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
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
    ("require_auth", &[]),
    ("requirepeer", &[]),
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
