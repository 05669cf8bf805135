//! The daemon's configuration: TOML files, checked completely before anything runs.
//!
//! Every problem is reported with its place, all of them in one go. Tables are read into the same structs
//! that the library's builders use, so that an option has one name, one default and one check.

mod effective;
mod extract;
mod fingerprint;
mod forwarders;
mod hide;
mod http;
mod interpolate;
mod layout;
mod levels;
pub(crate) mod near;
mod report;
mod rules;
mod sections;
mod sessions;
mod source;
mod stores;

pub(crate) use fingerprint::Fingerprint;
pub(crate) use http::HttpSection;
pub(crate) use levels::{Level, LogLevels};
pub(crate) use report::Problem;
pub(crate) use sections::{DaemonSection, LogFormat, LogSection};
pub(crate) use stores::DefinedStore;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mqttx::{ForwarderOptions, SessionOptions};

use layout::Layout;
use report::Report;
use source::SourceFile;

/// The exit code of a command whose configuration has problems: `EX_CONFIG` of `sysexits.h`.
pub(crate) const BAD_CONFIG: u8 = 78;

/// What the files ask for, checked.
#[derive(Debug)]
pub(crate) struct DaemonConfig {
    pub(crate) daemon: DaemonSection,
    pub(crate) http: Option<HttpSection>,
    pub(crate) log: LogSection,
    /// Where files of stores are; not there before something is kept.
    pub(crate) data_dir: PathBuf,
    /// The stores that sessions use, by name.
    pub(crate) stores: BTreeMap<String, DefinedStore>,
    pub(crate) sessions: Vec<SessionOptions>,
    pub(crate) forwarders: Vec<ForwarderOptions>,
    /// All of it as JSON, without secrets.
    pub(crate) effective: serde_json::Value,
    /// What stores and forwarders were asked for, by name.
    pub(crate) fingerprints: Fingerprints,
}

/// What tables ask for, to be compared with a later file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints {
    pub(crate) stores: BTreeMap<String, Fingerprint>,
    pub(crate) forwarders: BTreeMap<String, Fingerprint>,
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
    let http = http::read(&layout, &mut report);
    let data_dir = data_dir(&layout, &daemon, &files);
    let stores = stores::read(&layout, &data_dir, &mut report);
    let sessions = sessions::read(&layout, &stores, &files, &mut report);
    let forwarders = forwarders::read(&layout, &sessions, &mut report);
    report.finish()?;
    let effective = effective::value(&layout, &sessions);
    let mut stores = stores.into_defined();
    stores.retain(|name, _| sessions.iter().any(|session| session.store.as_ref() == Some(name)));
    Ok(DaemonConfig {
        daemon,
        http,
        log,
        data_dir,
        stores,
        sessions: sessions.into_iter().filter_map(|session| session.options).collect(),
        forwarders,
        effective,
        fingerprints: Fingerprints {
            stores: fingerprint::of_all(&layout.stores),
            forwarders: fingerprint::of_all(&layout.forwarders),
        },
    })
}

/// `data_dir`, relative to the file that says so; without it `state` beside the first file.
fn data_dir(layout: &Layout<'_>, daemon: &DaemonSection, files: &[SourceFile]) -> PathBuf {
    let file = layout.daemon.as_ref().map_or(0, |part| part.file);
    let directory = files.get(file).map_or_else(|| Path::new("."), SourceFile::directory);
    directory.join(daemon.data_dir.as_deref().unwrap_or("state"))
}

#[cfg(test)]
mod forwarder_tests;
#[cfg(test)]
mod guide_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;
