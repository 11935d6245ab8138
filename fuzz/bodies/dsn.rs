//! Any text as a connection string, in any environment.
//!
//! Compiled by the tests and by cargo-fuzz alike; knows only what `alle::internals::pg` promises in public.

use std::path::Path;

use alle::internals::pg::config::{
    Config, ConfigError, ConnectionString, File, FileError, Password, Surroundings,
};

/// The first line of `data` is the connection string, the second one every variable, the rest are
/// the bytes of every file.
pub fn pg_url(data: &[u8]) {
    let mut parts = data.splitn(3, |&byte| byte == b'\n');
    let string = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let variable = parts.next().unwrap_or_default();
    let file = parts.next().unwrap_or_default();
    let around = Surroundings {
        variable: &|name| (name != "PGPASSWORD").then(|| variable.to_vec()),
        file: &|path: &Path| {
            let bytes = match path.to_str() {
                Some("/etc/passwd") => b"me:x:7:7::/home/me:".to_vec(),
                Some(_) if file == b"unusable" => {
                    return Err(FileError::Unusable("is broken".to_owned()));
                }
                Some(_) | None => file.to_vec(),
            };
            Ok(File {
                bytes,
                is_private: true,
            })
        },
        socket_owner: &|path| path.starts_with("/tmp").then_some(8),
        user_id: 7,
    };
    let alone = Surroundings {
        variable: &|_| None,
        ..around
    };
    match ConnectionString::parse(&string) {
        Ok(string) => {
            check_resolved(string.resolve(alone));
            check_resolved(string.resolve(around));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    check_resolved(ConnectionString::unset().resolve(around));
}

fn check_resolved(resolved: Result<Config, ConfigError>) {
    match resolved {
        Ok(config) => check(&config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(config: &Config) {
    assert!(
        !config.servers.is_empty(),
        "there is somewhere to connect to"
    );
    assert!(config.servers.iter().all(|server| server.port != 0));
    assert!(!config.user.is_empty() && !config.database.is_empty());
    assert!(!config.address().is_empty());
    assert!(config.tls.versions.tls12 || config.tls.versions.tls13);
    for password in config
        .servers
        .iter()
        .filter_map(|server| server.password.as_ref())
    {
        check_hidden(config, password);
    }
}

/// A password long enough not to be a word of ours by chance is in no output.
fn check_hidden(config: &Config, password: &Password) {
    let Ok(password) = std::str::from_utf8(password.as_bytes()) else {
        return;
    };
    let elsewhere = format!(
        "{}{}{:?}{:?}",
        config.user, config.database, config.application_name, config.options
    );
    let shown = format!("{config:?} {config}");
    if password.len() > 12 && password.chars().all(char::is_alphanumeric) {
        let hosts = format!("{:?}{:?}", config.tls, elsewhere);
        let addresses = config.address();
        assert!(
            !shown.contains(password) || (hosts + &addresses).contains(password),
            "a password is shown"
        );
    }
}
