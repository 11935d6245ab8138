//! `alle listen`
use super::{Failure, args::ListenOptions, output::Output};
pub(crate) fn run(_o: ListenOptions, _out: &mut Output) -> Result<(), Failure> {
    Ok(())
}
