//! One file or directory for each command.

pub(crate) mod completions;
pub(crate) mod publish;
pub(crate) mod subscribe;
