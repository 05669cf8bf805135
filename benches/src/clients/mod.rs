//! The contestants: each client in the fastest way that its documentation shows.

mod mqttx;
#[cfg(feature = "peers")]
mod ntex;
#[cfg(feature = "peers")]
mod paho;
mod raw;
#[cfg(feature = "peers")]
mod rumqttc;

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
        #[cfg(feature = "peers")]
        Family::Rumqttc | Family::RumqttcNext => rumqttc::run(task),
        #[cfg(feature = "peers")]
        Family::Ntex => ntex::run(task),
        #[cfg(feature = "peers")]
        Family::Paho => paho::run(task),
        #[cfg(not(feature = "peers"))]
        _ => Err("built without the feature `peers`".to_owned()),
    }
}
