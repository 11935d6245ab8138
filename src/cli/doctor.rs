//! `alle doctor`: the library's examination of a PostgreSQL, printed.

use alle::{
    BridgeConfig,
    doctor::{self, Verdict},
};

use super::{
    Failure,
    args::{CommandName, PostgresOptions},
    output::Output,
    serve,
};

/// Examines, prints, and fails if LISTEN cannot work.
pub(crate) fn run(options: PostgresOptions, output: &mut Output) -> Result<(), Failure> {
    let config = BridgeConfig::new(options.url, "")
        .with_postgres_listen_url(options.listen_url)
        .with_postgres_publish_url(options.publish_url);
    let findings =
        doctor::examine(&config).map_err(|error| serve::failure(&error, CommandName::Doctor))?;
    for finding in &findings {
        for line in finding.to_string().lines() {
            output.line(line);
        }
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    if worst == Some(Verdict::Bad) {
        return Err(Failure::Run(
            "a bridge cannot work with this PostgreSQL".to_owned(),
        ));
    }
    output.line("A bridge can work with this PostgreSQL.");
    Ok(())
}
