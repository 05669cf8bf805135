//! The daemon's name in what forwarded messages say of their way.

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::path::Path;

use crate::config::DaemonConfig;
use crate::exit::warn;

/// `daemon.name`; without it a random one that is kept in `data_dir`, so that it is the same after a restart.
pub(super) fn of(config: &DaemonConfig) -> String {
    if let Some(name) = &config.daemon.name {
        return name.clone();
    }
    kept(&config.data_dir).unwrap_or_else(|error| {
        let file = config.data_dir.join(FILE);
        warn(format_args!("daemon.name: {}: {error}: a name for this time only", file.display()));
        random()
    })
}

fn kept(data_dir: &Path) -> Result<String, String> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
    }
    super::create_private(data_dir).map_err(|error| error.to_string())?;
    let name = random();
    let mut file = std::fs::File::create(&path).map_err(|error| error.to_string())?;
    let written = file.write_all(name.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| error.to_string())?;
    Ok(name)
}

fn random() -> String {
    // The keys of the standard library's maps are random.
    format!("{:016x}", RandomState::new().hash_one(0))
}

const FILE: &str = "daemon-name";
