//! The daemon's configuration: TOML files, checked completely before anything runs.
//!
//! Every problem is reported with its place, all of them in one go. Tables are read into the same structs
//! that the library's builders use, so that an option has one name, one default and one check.

mod extract;
mod forwarders;
mod interpolate;
mod layout;
mod levels;
pub(crate) mod near;
mod report;
mod sections;
mod sessions;
mod source;

pub(crate) use levels::Level;
pub(crate) use report::Problem;
pub(crate) use sections::{DaemonSection, LogFormat, LogSection};

use std::path::Path;

use mqttx::{ForwarderOptions, SessionOptions};

use layout::Layout;
use report::Report;

/// The exit code of a command whose configuration has problems: `EX_CONFIG` of `sysexits.h`.
pub(crate) const BAD_CONFIG: u8 = 78;

/// What the files ask for, checked.
#[derive(Debug)]
pub(crate) struct DaemonConfig {
    pub(crate) daemon: DaemonSection,
    pub(crate) log: LogSection,
    pub(crate) sessions: Vec<SessionOptions>,
    pub(crate) forwarders: Vec<ForwarderOptions>,
}

/// Reads a file, or the `*.toml` of a directory in the order of their names.
///
/// Creates nothing and connects to nothing.
///
/// # Errors
/// All problems, in the order of files and lines.
pub(crate) fn load(path: &Path) -> Result<DaemonConfig, Vec<Problem>> {
    let files = source::read(path)?;
    let mut report = Report::new(&files);
    let layout = Layout::of(&files, &mut report);
    let daemon = layout.daemon.as_ref().map_or_else(DaemonSection::default, |part| {
        extract::extract(&mut part.clone(), &mut report).unwrap_or_default()
    });
    let log = layout.log.as_ref().map_or_else(LogSection::default, |part| {
        extract::extract(&mut part.clone(), &mut report).unwrap_or_default()
    });
    let sessions = sessions::read(&layout, &files, &mut report);
    let forwarders = forwarders::read(&layout, &sessions, &mut report);
    report.finish()?;
    Ok(DaemonConfig {
        daemon,
        log,
        sessions: sessions.into_iter().filter_map(|session| session.options).collect(),
        forwarders,
    })
}

#[cfg(test)]
mod tests;
