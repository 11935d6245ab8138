//! `alle doctor`: the library's examination of a PostgreSQL, printed.

use alle::{
    BridgeConfig,
    doctor::{self, Verdict},
};

use super::{command::CommandName, failure::Failure, output::Output, serve};

/// Examines, prints, and fails if LISTEN cannot work.
pub(crate) fn run(config: &BridgeConfig, output: &mut Output) -> Result<(), Failure> {
    let findings =
        doctor::examine(config).map_err(|error| serve::failure(&error, CommandName::Doctor))?;
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
