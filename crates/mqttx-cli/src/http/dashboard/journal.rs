//! The last events.

use std::collections::VecDeque;

use mqttx::Event;
use serde_json::Value;

use super::super::event;

/// Events that are kept.
pub(super) const KEPT: usize = 500;
/// Bytes of all of them.
const BYTES: usize = 512 << 10;
/// Bytes of a text in an event: a topic may have 64 KiB.
const TEXT: usize = 256;

/// Events as JSON, the oldest first, and bounded: new ones take the place of old ones.
#[derive(Default)]
pub(super) struct Journal {
    events: VecDeque<String>,
    bytes: usize,
    /// How many there were.
    count: u64,
}

impl Journal {
    pub(super) fn add(&mut self, event: &Event) {
        let mut object = event::object(event);
        clip(&mut object);
        self.push(object.to_string());
    }

    fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.events.push_back(text);
        self.count += 1;
        while self.events.len() > KEPT || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// The next ones behind the first `seen`, at most `limit`, with commas between them; `seen` goes on.
    pub(super) fn after(&self, seen: &mut u64, limit: usize) -> String {
        // What is not kept any more is passed over.
        let oldest = self.count - self.events.len() as u64;
        *seen = (*seen).max(oldest);
        let from = usize::try_from(*seen - oldest).unwrap_or(usize::MAX).min(self.events.len());
        let to = from.saturating_add(limit).min(self.events.len());
        *seen += (to - from) as u64;
        let texts: Vec<&str> = self.events.range(from..to).map(String::as_str).collect();
        texts.join(",")
    }
}

/// Shortens all texts.
fn clip(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT => *text = clipped(text, TEXT),
        Value::Array(all) => all.iter_mut().for_each(clip),
        Value::Object(all) => all.values_mut().for_each(clip),
        _ => {}
    }
}

/// The text, or its beginning when it is longer than `limit` bytes.
pub(super) fn clipped(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn new_events_take_the_place_of_old_ones() {
        let mut journal = Journal::default();
        (0..KEPT + 7).for_each(|n| journal.push(n.to_string()));
        let mut seen = 0;
        assert!(journal.after(&mut seen, 3).starts_with("7,8,9"));
        assert_eq!(seen, 10);
        assert!(journal.after(&mut seen, KEPT).ends_with(&format!(",{}", KEPT + 6)));
        assert_eq!(journal.after(&mut seen, KEPT), "");
    }

    #[test]
    fn large_events_leave_room_for_fewer() {
        let mut journal = Journal::default();
        (0..KEPT).for_each(|_| journal.push("x".repeat(4096)));
        assert_eq!(journal.events.len(), BYTES / 4096);
        assert!(journal.bytes <= BYTES);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut value =
            json!({ "data": { "topic": "ä".repeat(1000), "list": ["x".repeat(300), 5] } });
        clip(&mut value);
        assert_eq!(value["data"]["topic"], format!("{}…", "ä".repeat(128)));
        assert_eq!(value["data"]["list"][0].as_str().map(str::len), Some(TEXT + "…".len()));
        assert_eq!(clipped("aä", 2), "a…");
        assert_eq!(clipped("aä", 3), "aä");
    }
}
