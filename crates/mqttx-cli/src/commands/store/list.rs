//! `mqttx store ls`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use mqttx::store::{Inspection, StoredSession};

use super::reader::Reader;
use super::verify::notices;
use crate::exit::{Failure, Outcome, warn};
use crate::output::{self, json::Object};

/// Lists the sessions by name.
pub(super) async fn run(reader: &Reader, json: bool) -> Outcome {
    let mut found = reader.inspect().await?;
    found.sessions.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Vec::new();
    if json {
        write_json(&found, &mut out);
    } else {
        out.extend(table(&found, now()).bytes());
        for notice in &found.notices {
            warn(format_args!("warning: {}", notice.text));
        }
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout.
///
/// # Errors
/// stdout is closed or full.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    output::print(bytes).map_err(|error| Failure::runtime(format_args!("standard output: {error}")))
}

fn write_json(found: &Inspection, out: &mut Vec<u8>) {
    let sessions: Vec<String> = found.sessions.iter().map(session_json).collect();
    let mut object = Object::open(out);
    object.raw("sessions", &format!("[{}]", sessions.join(",")));
    object.number("bytes", found.bytes);
    object.raw("notices", &notices(found));
    object.close();
    out.push(b'\n');
}

fn session_json(session: &StoredSession) -> String {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.text("name", &session.name);
    object.number("queued", session.queued);
    object.number("in_flight", session.in_flight);
    object.number("received", session.received);
    object.number("subscriptions", session.subscriptions);
    object.number("bytes", session.bytes);
    object.optional("oldest_unix_ms", session.oldest_unix_ms);
    object.close();
    String::from_utf8_lossy(&out).into_owned()
}

const HEAD: [&str; 7] = ["SESSION", "QUEUED", "IN FLIGHT", "RECEIVED", "FILTERS", "SIZE", "OLDEST"];

fn table(found: &Inspection, now: u64) -> String {
    let rows = found.sessions.iter().map(|session| {
        [
            // A name may hold anything.
            session.name.escape_debug().to_string(),
            session.queued.to_string(),
            session.in_flight.to_string(),
            session.received.to_string(),
            session.subscriptions.to_string(),
            size(session.bytes),
            session.oldest_unix_ms.map_or_else(|| "-".to_owned(), |at| age(now.saturating_sub(at))),
        ]
    });
    let rows: Vec<_> = [HEAD.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
        widths.max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells =
            row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let sum = format!("{} sessions, {} on the disk\n", found.sessions.len(), size(found.bytes));
    text + &sum
}

/// Bytes as a person reads them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// A time span by its largest unit.
fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_line_for_each_session_and_a_sum() {
        let plant = StoredSession {
            name: "plant".to_owned(),
            queued: 12_345,
            in_flight: 20,
            received: 1,
            subscriptions: 3,
            bytes: 3 << 20,
            oldest_unix_ms: Some(1_000),
        };
        let empty = StoredSession { name: "a\nb".to_owned(), ..StoredSession::default() };
        let found =
            Inspection { sessions: vec![plant, empty], notices: Vec::new(), bytes: 64 << 20 };
        let expected = "\
SESSION  QUEUED  IN FLIGHT  RECEIVED  FILTERS     SIZE  OLDEST
plant     12345         20         1        3  3.0 MiB    99 s
a\\nb          0          0         0        0      0 B       -
2 sessions, 64.0 MiB on the disk
";
        assert_eq!(table(&found, 100_000), expected);
    }

    #[test]
    fn ages_and_sizes_have_one_unit() {
        assert_eq!(
            [0, 119_999, 120_000, 7_200_000, 172_800_000].map(age),
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!([0, 1023, 1024, 1 << 40].map(size), ["0 B", "1023 B", "1.0 KiB", "1.0 TiB"]);
    }
}
