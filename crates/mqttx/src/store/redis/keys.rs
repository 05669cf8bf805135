//! The keys of a session.

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// The names of a session's keys. All have the session as hash tag: a cluster keeps them on one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Keys {
    names: [String; 6],
    slot: u16,
}

/// In the order of the scripts.
const PARTS: [&str; 6] = ["state", "messages", "queue", "assigned", "received", "filters"];

impl Keys {
    pub(super) fn new(prefix: &str, session: &str) -> Self {
        let tag = encode(session);
        let names = PARTS.map(|part| format!("{prefix}{{{tag}}}:{part}"));
        Self { names, slot: slot(tag.as_bytes()) }
    }

    pub(super) fn all(&self) -> &[String; 6] {
        &self.names
    }

    /// Those that `fetch.lua` reads.
    pub(super) fn queued(&self) -> &[String] {
        &self.names[..3]
    }

    pub(super) fn slot(&self) -> u16 {
        self.slot
    }

    /// What finds the states of all sessions.
    pub(super) fn pattern(prefix: &str) -> String {
        let mut pattern = String::new();
        for character in prefix.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern + "{*}:state"
    }

    /// The session whose state has this key.
    pub(super) fn session_of(prefix: &str, key: &str) -> Option<String> {
        decode(key.strip_prefix(prefix)?.strip_prefix('{')?.strip_suffix("}:state")?)
    }
}

/// A hash tag ends at the first brace, and must not be empty: braces are written otherwise.
fn encode(session: &str) -> String {
    if session.is_empty() {
        return "%".to_owned();
    }
    session.replace('%', "%25").replace('{', "%7B").replace('}', "%7D")
}

fn decode(tag: &str) -> Option<String> {
    if tag == "%" {
        return Some(String::new());
    }
    let session = tag.replace("%7B", "{").replace("%7D", "}").replace("%25", "%");
    (encode(&session) == tag).then_some(session)
}

/// CRC16 as Redis Cluster has it: polynomial 0x1021, from 0.
fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
    }

    #[test]
    fn every_session_has_keys_of_its_own_that_can_be_read_back() {
        for session in ["", "%", "%25", "{x}", "}", "%7B", "a:state", "ü/#"] {
            let keys = Keys::new("p[*]:", session);
            let key = &keys.all()[0];
            assert_eq!(Keys::session_of("p[*]:", key).as_deref(), Some(session), "{key}");
            assert_eq!(key.matches(['{', '}']).count(), 2, "one hash tag: {key}");
        }
        assert_eq!(Keys::pattern("p[*]:"), "p\\[\\*\\]:{*}:state");
        assert_eq!(Keys::session_of("p:", "p:{a%}:state"), None, "no name is written so");
    }
}
