//! The connection service file: settings under a name (PostgreSQL, "The Connection Service File").
//!
//! Knows where it is looked for and how it is written, no meaning of a setting. Its lines are
//! bytes: what stands outside the wanted section may be in any encoding.

use std::path::{Path, PathBuf};

use super::{
    error::ConfigError,
    settings::Settings,
    surroundings::{Around, FileError},
};

/// Takes the settings of the wanted service, if one is wanted, where nothing is set yet.
pub(super) fn read(settings: &mut Settings, around: &mut Around<'_>) -> Result<(), ConfigError> {
    let Some(service) = settings.take("service").or(around.text("PGSERVICE")?) else {
        return Ok(());
    };
    let named = settings
        .take("servicefile")
        .or(around.text("PGSERVICEFILE")?);
    let named = named.map(PathBuf::from);
    let is_named = named.is_some();
    let own = named.or_else(|| around.in_home(".pg_service.conf"));
    let shared = match around.text("PGSYSCONFDIR")? {
        Some(directory) => vec![PathBuf::from(directory)],
        None => SHARED.iter().map(PathBuf::from).collect(),
    };
    let shared = shared.iter().map(|path| path.join("pg_service.conf"));
    let own = own.into_iter().map(|path| (path, is_named));
    for (path, is_named) in own.chain(shared.map(|path| (path, false))) {
        let bytes = match around.file(&path) {
            Ok(file) => file.bytes,
            Err(FileError::Missing) if is_named => {
                return Err(ConfigError::ServiceFileMissing { path });
            }
            Err(FileError::Missing) => continue,
            Err(FileError::Unusable(why)) => {
                return Err(ConfigError::ServiceFileUnusable { path, why });
            }
        };
        if let Some(section) = section(&bytes, &path, &service)? {
            settings.add_defaults(section);
            return Ok(());
        }
    }
    Err(ConfigError::ServiceUnknown { service })
}

/// The settings of the section of this name, if it is there; of equal names the first counts.
fn section(bytes: &[u8], path: &Path, service: &str) -> Result<Option<Settings>, ConfigError> {
    let mut found: Option<Settings> = None;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let malformed = || ConfigError::ServiceFile {
            path: path.to_owned(),
            line: number + 1,
        };
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(name) = line.strip_prefix(b"[") {
            if found.is_some() {
                break;
            }
            let end = name.iter().position(|&byte| byte == b']');
            if end.is_some_and(|end| &name[..end] == service.as_bytes()) {
                found = Some(Settings::default());
            }
        } else if let Some(settings) = &mut found {
            let equals = line.iter().position(|&byte| byte == b'=');
            let (name, value) = line.split_at(equals.ok_or_else(malformed)?);
            let name = std::str::from_utf8(name).map_err(|_| malformed())?;
            let name = Settings::name_of(name)
                .filter(|name| !["service", "servicefile"].contains(name))
                .ok_or_else(malformed)?;
            let mut setting = Settings::default();
            let value = value[1..].to_vec();
            setting.set(name, value, name).map_err(|_| malformed())?;
            settings.add_defaults(setting);
        }
    }
    Ok(found)
}

/// Where distributions keep the file for all users: Debian and its kin, Red Hat's, and the default
/// of a build from source.
const SHARED: [&str; 3] = [
    "/etc/postgresql-common",
    "/etc/sysconfig/pgsql",
    "/usr/local/pgsql/etc",
];
