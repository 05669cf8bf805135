//! `--store` and `--fsync`.

use clap::Args;
use mqttx::Fsync;

use crate::exit::Failure;
use crate::stores::{SharedStore, StoreUrl, parse_fsync};

/// What outlives the process.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Store: what outlives this process")]
pub(super) struct StoreFlags {
    /// Where session state and unacknowledged messages live: memory, file:DIR or redis://HOST[:PORT][/DB]
    ///
    /// With file: or redis: and -c, a process that was killed goes on when it is started again: what was
    /// accepted is sent, with QoS 2 once. The state belongs to the client id (-i). Also rediss://,
    /// redis+sentinel:// and redis+cluster://; one process at a time uses a directory. 'mqttx store' shows
    /// what is in it.
    #[arg(long, value_name = "STORE", value_parser = StoreUrl::parse)]
    store: Option<StoreUrl>,

    /// When a file store is forced to the disk: group, interval[:MS] or os [default: group]
    ///
    /// group: before a message counts as accepted, many at a time; survives a power cut. interval: every so
    /// often (100 ms), a power cut costs at most that. os: when the system likes. A killed process loses
    /// nothing with any of them.
    #[arg(long, value_name = "POLICY", value_parser = parse_fsync)]
    fsync: Option<Fsync>,
}

impl StoreFlags {
    /// Whether a store was asked for.
    pub(super) fn is_given(&self) -> bool {
        self.store.is_some()
    }

    /// The store, if state outlives the process.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(super) fn resolve(&self) -> Result<Option<SharedStore>, Failure> {
        if self.fsync.is_some() && !matches!(self.store, Some(StoreUrl::File(_))) {
            return Err(Failure::usage("--fsync needs a file store: give --store file:DIR"));
        }
        let Some(url) = &self.store else { return Ok(None) };
        SharedStore::of_command(url, self.fsync.unwrap_or_default())
            .map_err(|error| Failure::usage(format_args!("--store: {error}")))
    }
}
