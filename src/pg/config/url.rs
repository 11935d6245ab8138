//! A connection URI taken apart: which text stands where, decoded, nothing filled in.
//!
//! Follows libpq's grammar (PostgreSQL, "Connection URIs"). Knows no default, no environment and
//! not what the parts are for.

use super::ConfigError;

/// What the URL says, each part decoded, nothing filled in.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) options: Option<String>,
    pub(super) sslmode: Option<String>,
}

impl Parts {
    /// Splits where libpq's `conninfo_uri_parse_options` splits, so that one string means one
    /// server to both: the first `@` before the first `/` ends the credentials, even behind a `?`.
    pub(super) fn read_url(&mut self, url: &str) -> Result<(), ConfigError> {
        let rest = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or(ConfigError::Scheme)?;
        let rest = match rest.find(['@', '/']) {
            Some(at) if rest[at..].starts_with('@') => {
                self.read_credentials(&rest[..at])?;
                &rest[at + 1..]
            }
            Some(_) | None => rest,
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        self.read_authority(authority)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        self.database = text_of(path.strip_prefix('/').unwrap_or(path), "database name")?;
        for parameter in query.split('&').filter(|_| !query.is_empty()) {
            self.read_parameter(parameter)?;
        }
        Ok(())
    }

    fn read_credentials(&mut self, text: &str) -> Result<(), ConfigError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        self.user = text_of(user, "user name")?;
        self.password = text_of(password, "password")?;
        Ok(())
    }

    fn read_authority(&mut self, text: &str) -> Result<(), ConfigError> {
        if text.contains('@') {
            return Err(ConfigError::StrayAt);
        }
        if text.contains(',') {
            return Err(ConfigError::SeveralHosts);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(ConfigError::Brackets)?;
                if host.is_empty() || !(rest.is_empty() || rest.starts_with(':')) {
                    return Err(ConfigError::Brackets);
                }
                (host, rest.strip_prefix(':').unwrap_or(rest))
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        self.host = text_of(host, "host")?;
        self.port = text_of(port, "port")?
            .map(|text| port_of(&text).map_err(|_| ConfigError::Port { value: None }))
            .transpose()?;
        Ok(())
    }

    fn read_parameter(&mut self, parameter: &str) -> Result<(), ConfigError> {
        let (name, value) = parameter
            .split_once('=')
            .ok_or(ConfigError::ParameterWithoutValue)?;
        let name = text_of(name, "name of a parameter")?.unwrap_or_default();
        if value.contains('=') {
            return Err(ConfigError::ParameterWithTwoValues { name });
        }
        match name.as_str() {
            "host" => self.host = text_of(value, "host")?,
            "port" => {
                self.port = text_of(value, "port")?
                    .map(|text| match port_of(&text) {
                        Err(_) if text.contains(',') => Err(ConfigError::SeveralHosts),
                        Err(_) => Err(ConfigError::Port { value: Some(text) }),
                        Ok(port) => Ok(port),
                    })
                    .transpose()?;
            }
            "user" => self.user = text_of(value, "user")?,
            "password" => self.password = text_of(value, "password")?,
            "dbname" => self.database = text_of(value, "dbname")?,
            "application_name" => self.application_name = text_of(value, "application_name")?,
            "options" => self.options = text_of(value, "options")?,
            "sslmode" => self.sslmode = text_of(value, "sslmode")?,
            // JDBC's spelling, which libpq reads too.
            "ssl" if value == "true" => self.sslmode = Some("require".to_owned()),
            "connect_timeout" => {
                let value = text_of(value, "connect_timeout")?.unwrap_or_default();
                if value.parse::<i32>().is_err() {
                    return Err(ConfigError::Value {
                        name: "connect_timeout",
                        value,
                    });
                }
            }
            _ => return Err(ConfigError::UnknownParameter { name }),
        }
        Ok(())
    }
}

/// Decodes `%XX`; `None` if nothing is there.
fn text_of(text: &str, part: &'static str) -> Result<Option<String>, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || {
            let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        bytes.push(if byte == b'%' {
            let high = digit().ok_or(ConfigError::PercentEncoding { part })?;
            let low = digit().ok_or(ConfigError::PercentEncoding { part })?;
            high * 16 + low
        } else {
            byte
        });
    }
    if bytes.contains(&0) {
        return Err(ConfigError::Nul { part });
    }
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8 { part })?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Digits only, where `u16::from_str` would take a sign.
pub(super) fn port_of(text: &str) -> Result<u16, ()> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| digits && port != 0)
        .ok_or(())
}
