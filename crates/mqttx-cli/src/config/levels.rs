//! `[log] level`.

use std::str::FromStr;

use serde::Deserialize;

/// How much is logged, of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LogLevels {
    /// Of everything without a level of its own.
    pub(crate) general: Level,
    /// Of packets: `mqttx::wire`; a line for every packet from `debug` on.
    pub(crate) wire: Level,
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

impl Default for LogLevels {
    fn default() -> Self {
        Self { general: Level::Info, wire: Level::Warn }
    }
}

impl TryFrom<String> for LogLevels {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => levels.general = part.parse()?,
                Some(("mqttx::wire", level)) => levels.wire = level.parse()?,
                Some(("mqttx", level)) => levels.general = level.parse()?,
                Some((target, _)) => {
                    return Err(format!("unknown '{target}': known are mqttx and mqttx::wire"));
                }
            }
        }
        Ok(levels)
    }
}

impl Level {
    /// As it stands in a line.
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
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        all.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text.trim())).ok_or_else(
            || format!("unknown level '{text}': known are off, error, warn, info, debug, trace"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_target() {
        let levels = LogLevels::try_from("warn, mqttx::wire=debug".to_owned());
        assert_eq!(levels, Ok(LogLevels { general: Level::Warn, wire: Level::Debug }));
        assert_eq!(LogLevels::try_from(String::new()), Ok(LogLevels::default()));
        assert!(
            LogLevels::try_from("loud".to_owned()).unwrap_err().contains("unknown level 'loud'")
        );
        assert!(LogLevels::try_from("x=info".to_owned()).unwrap_err().contains("unknown 'x'"));
    }
}
