//! The connection service file: settings under a name (PostgreSQL, "The Connection Service File").
//!
//! Knows where it is looked for and how it is written, no meaning of a setting.

use std::path::{Path, PathBuf};

use super::{ConfigError, Surroundings, in_home, settings::Settings};

/// Takes the settings of the wanted service, if one is wanted, where nothing is set yet.
pub(super) fn read(settings: &mut Settings, around: Surroundings<'_>) -> Result<(), ConfigError> {
    let variable = |name| Settings::variable(around, name);
    let Some(service) = settings.take("service").or(variable("PGSERVICE")?) else {
        return Ok(());
    };
    let named = settings.take("servicefile").or(variable("PGSERVICEFILE")?);
    let own = named
        .map(PathBuf::from)
        .or_else(|| in_home(around, ".pg_service.conf"));
    let shared = match variable("PGSYSCONFDIR")? {
        Some(directory) => vec![PathBuf::from(directory)],
        None => SHARED.iter().map(PathBuf::from).collect(),
    };
    let shared = shared.iter().map(|path| path.join("pg_service.conf"));
    for path in own.into_iter().chain(shared) {
        let Some(file) = (around.file)(&path) else {
            continue;
        };
        if read_section(&file.text, &path, &service, settings)? {
            return Ok(());
        }
    }
    Err(ConfigError::ServiceUnknown { service })
}

/// Whether the section was there.
fn read_section(
    text: &str,
    path: &Path,
    service: &str,
    settings: &mut Settings,
) -> Result<bool, ConfigError> {
    let mut found = false;
    for (number, line) in text.lines().enumerate() {
        let malformed = || ConfigError::ServiceFile {
            path: path.to_owned(),
            line: number + 1,
        };
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found {
                return Ok(true);
            }
            let name = section.split(']').next().unwrap_or_default();
            found = name == service && section.contains(']');
        } else if found {
            let (name, value) = line.split_once('=').ok_or_else(malformed)?;
            let name = Settings::name_of(name)
                .filter(|name| !["service", "servicefile"].contains(name))
                .ok_or_else(malformed)?;
            if value.contains('\0') {
                return Err(malformed());
            }
            settings.set_default(name, value.to_owned());
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
