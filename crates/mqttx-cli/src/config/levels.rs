//! `[log] level`.

use std::str::FromStr;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::near;

/// How much is logged, of what.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LogLevels {
    /// Of everything without a level of its own.
    pub(crate) general: Level,
    /// Of parts that have one.
    parts: Vec<(&'static str, Level)>,
}

/// From nothing to everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What has a level of its own: packets (`mqttx::wire`, a line for each from `debug` on), and who tells of what happens.
const PARTS: [&str; 7] = [
    "mqttx",
    "mqttx::daemon",
    "mqttx::forward",
    "mqttx::http",
    "mqttx::session",
    "mqttx::store",
    WIRE,
];
const WIRE: &str = "mqttx::wire";

impl LogLevels {
    /// The parts with a level of their own. Packets have `warn` unless something else is asked for.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (&'static str, Level)> {
        [(WIRE, Level::Warn)].into_iter().chain(self.parts.iter().copied())
    }
}

impl Default for LogLevels {
    fn default() -> Self {
        Self { general: Level::Info, parts: Vec::new() }
    }
}

impl TryFrom<String> for LogLevels {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => levels.general = part.parse()?,
                Some((target, level)) => {
                    let target = target.trim();
                    let known = PARTS.into_iter().find(|known| *known == target);
                    let known = known.ok_or_else(|| near::unknown("part", target, PARTS))?;
                    levels.parts.push((known, level.parse()?));
                }
            }
        }
        Ok(levels)
    }
}

impl Level {
    /// As it stands in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// For `tracing`.
    pub(crate) const fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let names = all.map(Self::as_str);
        let found = all.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| near::unknown("level", text.trim(), names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LogLevels, String> {
        LogLevels::try_from(text.to_owned())
    }

    #[test]
    fn levels_are_read_by_part() {
        let levels = read("warn, mqttx::wire=debug,mqttx::store = trace").unwrap();
        assert_eq!(levels.general, Level::Warn);
        let last = levels.targets().collect::<Vec<_>>();
        let expected = [(WIRE, Level::Warn), (WIRE, Level::Debug), ("mqttx::store", Level::Trace)];
        assert_eq!(last, expected, "later ones count");
        assert_eq!(read(""), Ok(LogLevels::default()));
    }

    #[test]
    fn what_is_not_known_is_said_with_what_is() {
        assert_eq!(read("inof").unwrap_err(), "unknown level 'inof', did you mean 'info'?");
        let unknown = read("mqttx::wire=loud").unwrap_err();
        assert!(unknown.starts_with("unknown level 'loud': known are debug,"), "{unknown}");
        let unknown = read("mqttx::wirr=info").unwrap_err();
        assert_eq!(unknown, "unknown part 'mqttx::wirr', did you mean 'mqttx::wire'?");
    }
}
