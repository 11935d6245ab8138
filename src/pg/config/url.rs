//! A connection URI taken apart: which text stands where, decoded, nothing filled in.
//!
//! Follows libpq's grammar (PostgreSQL, "Connection URIs"). Knows no default, no environment and
//! not what the parts are for.

use super::{error::ConfigError, settings::Settings, surroundings};

/// Whether `text` begins as one.
pub(super) fn is_url(text: &str) -> bool {
    without_scheme(text).is_some()
}

/// Splits where libpq's `conninfo_uri_parse_options` splits, so that one string means one server to
/// both: the first `@` before the first `/` ends the credentials, even behind a `?`.
pub(super) fn read(url: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    // A line break at the end is a file's, or that of `echo`; PostgreSQL 18 takes it, too.
    let rest = without_scheme(url).ok_or(ConfigError::Scheme)?;
    let rest = rest.trim_end_matches([' ', '\t', '\r', '\n']);
    let rest = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            settings.set("user", decoded(user, "user name")?, "user name")?;
            settings.set("password", decoded(password, "password")?, "password")?;
            &rest[at + 1..]
        }
        Some(_) | None => rest,
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    read_authority(authority, settings)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = path.strip_prefix('/').unwrap_or(path);
    let name = "database name";
    settings.set("dbname", decoded(database, name)?, name)?;
    // An unencoded '/' in a password makes a query of the rest of it.
    let mut is_secret = query.contains('@');
    for parameter in query.split('&').filter(|_| !query.is_empty()) {
        read_parameter(parameter, is_secret, settings)?;
        is_secret |= parameter.starts_with("password=");
    }
    Ok(())
}

fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"))
}

/// Hosts and ports, as two lists of one length.
fn read_authority(mut text: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    if text.contains('@') {
        return Err(ConfigError::StrayAt);
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let (host, behind) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or(ConfigError::Brackets)?;
                if host.is_empty() || !(behind.is_empty() || behind.starts_with([':', ','])) {
                    return Err(ConfigError::Brackets);
                }
                (host, behind)
            }
            None => text.split_at(text.find([':', ',']).unwrap_or(text.len())),
        };
        let (port, behind) = match behind.strip_prefix(':') {
            Some(rest) => rest.split_at(rest.find(',').unwrap_or(rest.len())),
            None => ("", behind),
        };
        let port = text_of(port, "port")?;
        // Not repeated: behind a password with a '/' in it, this is a piece of the password.
        if !port.is_empty() && port_of(&port).is_err() {
            return Err(ConfigError::Port { value: None });
        }
        hosts.push(text_of(host, "host")?);
        ports.push(port);
        match behind.strip_prefix(',') {
            Some(rest) => text = rest,
            None => break,
        }
    }
    settings.set("host", hosts.join(",").into_bytes(), "host")?;
    if ports.iter().any(|port| !port.is_empty()) {
        settings.set("port", ports.join(",").into_bytes(), "port")?;
    }
    Ok(())
}

/// Names are not repeated where `is_secret`.
fn read_parameter(
    parameter: &str,
    is_secret: bool,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    let (name, value) = parameter
        .split_once('=')
        .ok_or(ConfigError::ParameterWithoutValue)?;
    let name = text_of(name, "name of a parameter")?;
    if value.contains('=') {
        return Err(ConfigError::ParameterWithTwoValues {
            name: (!is_secret).then(|| ConfigError::shown(&name)),
        });
    }
    // JDBC's spelling, which libpq reads too.
    if name == "ssl" && value == "true" {
        return settings.set("sslmode", b"require".to_vec(), "sslmode");
    }
    let part = Settings::name_of(&name).unwrap_or("value of a parameter");
    if !settings.set_named(&name, decoded(value, part)?)? {
        return Err(ConfigError::unknown(&name, is_secret));
    }
    if is_secret {
        settings.doubt(&name);
    }
    Ok(())
}

/// Decodes `%XX` into text.
fn text_of(text: &str, part: &'static str) -> Result<String, ConfigError> {
    surroundings::text_of(decoded(text, part)?, part)
}

/// Decodes `%XX`.
fn decoded(text: &str, part: &'static str) -> Result<Vec<u8>, ConfigError> {
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
    Ok(bytes)
}

/// Digits only, where `u16::from_str` would take a sign.
pub(super) fn port_of(text: &str) -> Result<u16, ()> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| digits && port != 0)
        .ok_or(())
}
