//! Any text as a connection string, in any environment.
//!
//! Compiled by the tests and by cargo-fuzz alike; knows only what `alle::internals::pg` promises in public.

use std::path::Path;

use alle::internals::pg::config::{Config, File, Password, Surroundings};

/// The first line of `data` is the connection string, the second one every variable, the rest is
/// the text of every file.
pub fn pg_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let string = parts.next().unwrap_or_default();
    let variable = parts.next().unwrap_or_default();
    let file = parts.next().unwrap_or_default();
    let around = Surroundings {
        variable: &|name| (name != "PGPASSWORD").then(|| variable.to_owned()),
        file: &|_: &Path| {
            Some(File {
                text: file.to_owned(),
                is_private: true,
            })
        },
        exists: &|_| true,
    };
    if let Ok(config) = Config::parse(string, &|name| (name == "USER").then(|| "me".to_owned())) {
        check(&config);
    }
    match Config::parse_in(string, around) {
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
    let password = password.as_str();
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
