//! A connection URI taken apart: which text stands where, decoded, nothing filled in.
//!
//! Follows libpq's grammar (PostgreSQL, "Connection URIs"). Knows no default, no environment and
//! not what the parts are for.

use super::{ConfigError, settings::Settings};

/// Whether `text` begins as one.
pub(super) fn is_url(text: &str) -> bool {
    without_scheme(text).is_some()
}

/// Splits where libpq's `conninfo_uri_parse_options` splits, so that one string means one server to
/// both: the first `@` before the first `/` ends the credentials, even behind a `?`.
pub(super) fn read(url: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    let rest = without_scheme(url).ok_or(ConfigError::Scheme)?;
    let rest = match rest.find(['@', '/']) {
        Some(at) if rest[at..].starts_with('@') => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            settings.set("user", text_of(user, "user name")?);
            settings.set("password", text_of(password, "password")?);
            &rest[at + 1..]
        }
        Some(_) | None => rest,
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    read_authority(authority, settings)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = path.strip_prefix('/').unwrap_or(path);
    settings.set("dbname", text_of(database, "database name")?);
    for parameter in query.split('&').filter(|_| !query.is_empty()) {
        read_parameter(parameter, settings)?;
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
    settings.set("host", hosts.join(","));
    if ports.iter().any(|port| !port.is_empty()) {
        settings.set("port", ports.join(","));
    }
    Ok(())
}

fn read_parameter(parameter: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    let (name, value) = parameter
        .split_once('=')
        .ok_or(ConfigError::ParameterWithoutValue)?;
    let name = text_of(name, "name of a parameter")?;
    if value.contains('=') {
        return Err(ConfigError::ParameterWithTwoValues {
            name: ConfigError::shown(&name),
        });
    }
    // JDBC's spelling, which libpq reads too.
    if name == "ssl" && value == "true" {
        settings.set("sslmode", "require".to_owned());
        return Ok(());
    }
    let known = Settings::name_of(&name).ok_or_else(|| ConfigError::unknown(&name))?;
    settings.set(known, text_of(value, known)?);
    Ok(())
}

/// Decodes `%XX`.
fn text_of(text: &str, part: &'static str) -> Result<String, ConfigError> {
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
    String::from_utf8(bytes).map_err(|_| ConfigError::NotUtf8 { part })
}

/// Digits only, where `u16::from_str` would take a sign.
pub(super) fn port_of(text: &str) -> Result<u16, ()> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| digits && port != 0)
        .ok_or(())
}
