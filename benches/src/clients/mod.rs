//! The contestants: each client in the fastest way that its documentation shows.

mod mqttx;
mod raw;

use crate::child::Task;
use crate::contestant::Family;

/// Does what the task says.
///
/// # Errors
/// The client failed.
pub(crate) fn run(task: Task) -> Result<(), String> {
    match task.contestant.family {
        Family::Raw => raw::run(task),
        Family::Mqttx => mqttx::run(task),
    }
}
