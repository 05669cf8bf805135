//! Stores as people name them: `memory`, `file:DIR`, `redis://…`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mqttx::store::Store;
use mqttx::{FileStore, Fsync, OnFull, RedisStore};

/// A place for state.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// It ends with the process.
    Memory,
    /// A directory.
    File(PathBuf),
    /// A Redis server, with its credentials.
    Redis(String),
}

/// The schemes of Redis: one server, with TLS, found by Sentinel, a cluster.
const REDIS: [&str; 6] =
    ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

impl StoreUrl {
    /// Reads the value of `--store`.
    ///
    /// # Errors
    /// It names no store, with what is allowed. Credentials are never repeated.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(directory) = text.strip_prefix("file:") {
            // Of file:///path the authority is empty.
            let path = directory.strip_prefix("//").filter(|rest| rest.starts_with('/'));
            return match path.unwrap_or(directory) {
                "" => Err("the directory is missing: file:DIR".to_owned()),
                path => Ok(Self::File(path.into())),
            };
        }
        match text.split_once("://") {
            Some((scheme, _)) if REDIS.contains(&scheme.to_ascii_lowercase().as_str()) => {
                Ok(Self::Redis(text.to_owned()))
            }
            Some((scheme, _)) => Err(format!("unknown store '{scheme}://': {ALLOWED}")),
            None => Err(format!("'{text}' is not a store: {ALLOWED}")),
        }
    }
}

const ALLOWED: &str = "allowed are memory, file:DIR and redis:// (also rediss://, redis+sentinel://, redis+cluster://)";

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            // It may hold a password.
            Self::Redis(_) => f.write_str("redis://…"),
        }
    }
}

/// Reads the value of `--fsync`, and of `fsync` in a file.
///
/// # Errors
/// It is no policy, with what is allowed.
pub(crate) fn parse_fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "group" => Ok(Fsync::Group),
        "interval" => Ok(Fsync::INTERVAL),
        "os" => Ok(Fsync::Os),
        _ => {
            let span = text.strip_prefix("interval:").and_then(|span| {
                let digits = span.strip_suffix("ms").unwrap_or(span);
                digits.parse::<u64>().ok().filter(|ms| (1..=3_600_000).contains(ms))
            });
            let span = span.map(|ms| Fsync::Interval(Duration::from_millis(ms)));
            span.ok_or_else(|| {
                format!(
                    "'{text}' is not a policy: allowed are group, interval, interval:MS with 1 to \
                     3600000, and os"
                )
            })
        }
    }
}

/// A store that sessions keep their state in.
#[derive(Clone, Debug)]
pub(crate) struct SharedStore(Arc<dyn Store>);

impl SharedStore {
    /// The store of a command: where it has no room, that is an error. `None`: there is none, state ends with
    /// the process.
    ///
    /// # Errors
    /// The URL of a server is not valid.
    pub(crate) fn of_command(url: &StoreUrl, fsync: Fsync) -> Result<Option<Self>, String> {
        let store: Arc<dyn Store> = match url {
            StoreUrl::Memory => return Ok(None),
            StoreUrl::File(directory) => {
                Arc::new(FileStore::new(directory).fsync(fsync).when_full(OnFull::Reject))
            }
            StoreUrl::Redis(url) => {
                let store = RedisStore::new(url).map_err(|error| error.message().to_owned())?;
                Arc::new(store.when_full(OnFull::Reject))
            }
        };
        Ok(Some(Self(store)))
    }

    /// It as the library takes it. It knows sessions by their names.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0)
    }

    /// Waits until everything is as durable as the store promises.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_told_apart() {
        for (text, store) in [
            ("memory", StoreUrl::Memory),
            ("file:dir/x", StoreUrl::File("dir/x".into())),
            ("file:/var/x", StoreUrl::File("/var/x".into())),
            ("file:///var/x", StoreUrl::File("/var/x".into())),
            ("redis://h:1/2", StoreUrl::Redis("redis://h:1/2".to_owned())),
            ("redis+cluster://h", StoreUrl::Redis("redis+cluster://h".to_owned())),
        ] {
            assert_eq!(StoreUrl::parse(text), Ok(store));
        }
        for text in ["", "Memory", "file:", "dir", "http://h", "redis:h"] {
            let error = StoreUrl::parse(text).unwrap_err();
            assert!(error.contains("file:DIR"), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_of_urls_are_not_shown() {
        let url = StoreUrl::parse("redis://user:secret@h").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
        assert!(!StoreUrl::parse("amqp://user:secret@h").unwrap_err().contains("secret"));
    }

    #[test]
    fn policies_have_a_span_where_it_means_something() {
        let interval = |ms| Ok(Fsync::Interval(Duration::from_millis(ms)));
        assert_eq!(parse_fsync("group"), Ok(Fsync::Group));
        assert_eq!(parse_fsync("os"), Ok(Fsync::Os));
        assert_eq!(parse_fsync("interval"), interval(100));
        assert_eq!(parse_fsync("interval:5"), interval(5));
        assert_eq!(parse_fsync("interval:50ms"), interval(50));
        for text in ["", "always", "interval:", "interval:0", "interval:-1", "group:5", "os:1"] {
            assert!(parse_fsync(text).is_err(), "{text}");
        }
    }
}
