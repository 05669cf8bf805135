//! Durations and sizes as people write them: `250ms`, `1m30s`, `64MiB`.

use std::time::Duration;

use serde::de::{Deserializer, Error as _, Visitor};

/// Parses a duration: a number with `ms`, `s`, `m`, `h` or `d`, several of them in a row, or a bare
/// number of seconds.
///
/// # Errors
/// The text that says what is allowed.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(mqttx::human::parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(mqttx::human::parse_duration("soon").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is not a duration: allowed are 250ms, 20s, 1m30s, 24h, 7d");
    let trimmed = text.trim();
    if let Ok(seconds) = trimmed.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let mut total = Duration::ZERO;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_len);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = next.trim_start();
    }
    if trimmed.is_empty() { Err(bad()) } else { Ok(total) }
}

/// Parses a number of bytes: bare, or with `B`, `KB`, `MB`, `GB` (powers of 1000) or `KiB`, `MiB`,
/// `GiB` (powers of 1024).
///
/// # Errors
/// The text that says what is allowed.
///
/// ```
/// assert_eq!(mqttx::human::parse_bytes("64MiB"), Ok(64 << 20));
/// ```
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a size: allowed are 4096, 64KiB, 1MiB, 4GiB, 10MB");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)
}

/// The shortest text that [`parse_duration`] reads back as `duration`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// Reads a duration in a configuration file: text, or a number of seconds.
///
/// # Errors
/// What [`parse_duration`] says.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = deserializer.deserialize_any(Scalar("a duration such as \"20s\""))?;
    parse_duration(&text).map_err(D::Error::custom)
}

/// Reads a duration that may be absent.
///
/// # Errors
/// What [`parse_duration`] says.
pub fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Reads a number of bytes in a configuration file: text or a number.
///
/// # Errors
/// What [`parse_bytes`] says.
pub fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = deserializer.deserialize_any(Scalar("a size such as \"64MiB\""))?;
    let bytes = parse_bytes(&text).map_err(D::Error::custom)?;
    usize::try_from(bytes).map_err(D::Error::custom)
}

/// Reads a number of bytes that may be absent.
///
/// # Errors
/// What [`parse_bytes`] says.
pub fn optional_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    bytes(deserializer).map(Some)
}

/// A string, integer or float, as text.
pub(super) struct Scalar(pub(super) &'static str);

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("20s", 20_000),
            ("1m30s", 90_000),
            ("1h 1m", 3_660_000),
            ("7d", 604_800_000),
            ("1.5s", 1_500),
            ("2", 2_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bad_durations_and_sizes_say_what_is_allowed() {
        for text in ["", "x", "10 parsecs", "-1s", "1e400s", "99999999999999999999d", "s"] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains("allowed"), "{error}");
        }
        for text in ["", "-1", "1TiB", "99999999999999999999", "1.5MiB", "MiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn formatted_durations_read_back() {
        for millis in [0, 1, 1500, 1000, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn sizes_in_both_scales() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("10MB"), Ok(10_000_000));
        assert_eq!(parse_bytes("512"), Ok(512));
    }
}
