//! The `alle` command.

fn main() {}
