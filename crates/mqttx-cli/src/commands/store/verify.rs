//! `mqttx store verify`.

use std::process::ExitCode;

use mqttx::store::Inspection;

use super::list::{print, size};
use super::reader::Reader;
use crate::exit::{Failure, Outcome};
use crate::output::json::Object;

/// Says what is damaged, on stdout.
pub(super) async fn run(reader: &Reader, json: bool) -> Outcome {
    let found = reader.inspect().await?;
    let lost: u64 = found.notices.iter().map(|notice| notice.lost_records).sum();
    let mut out = Vec::new();
    if json {
        write_json(&found, lost, &mut out);
    } else {
        write_text(&found, &mut out);
    }
    print(&out)?;
    match found.notices.len() {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::runtime(format_args!("the store is damaged; lost records: {lost}"))),
    }
}

fn write_text(found: &Inspection, out: &mut Vec<u8>) {
    for notice in &found.notices {
        out.extend(format!("{}\n", notice.text).bytes());
    }
    let messages: u64 =
        found.sessions.iter().map(|session| session.queued + session.in_flight).sum();
    let sums = format!(
        "sessions {}, messages {messages}, {}: {}\n",
        found.sessions.len(),
        size(found.bytes),
        if found.notices.is_empty() { "no damage" } else { "damaged" }
    );
    out.extend(sums.bytes());
}

fn write_json(found: &Inspection, lost: u64, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.flag("ok", found.notices.is_empty());
    object.number("sessions", found.sessions.len() as u64);
    object.number("bytes", found.bytes);
    object.number("lost_records", lost);
    object.raw("notices", &notices(found));
    object.close();
    out.push(b'\n');
}

/// The notices as a JSON array.
pub(super) fn notices(found: &Inspection) -> String {
    let notices = found.notices.iter().map(|notice| {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("text", &notice.text);
        object.number("lost_records", notice.lost_records);
        object.close();
        String::from_utf8_lossy(&out).into_owned()
    });
    format!("[{}]", notices.collect::<Vec<_>>().join(","))
}
