//! What a broker must not do, and Mosquitto 2.0.11 does after a restart.

use std::collections::HashSet;
use std::sync::Mutex;

use mqttx::WireLog;

/// Counts the QoS 2 messages that a broker sends again after their PUBREL `[MQTT-4.3.3-6]`: for the
/// receiver they are new ones.
#[derive(Default)]
pub(crate) struct Released {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    released: HashSet<u16>,
    again: usize,
}

impl Released {
    pub(crate) fn sent_again(&self) -> usize {
        self.state.lock().unwrap().again
    }
}

impl WireLog for Released {
    fn sent(&self, _: &str, _: &[u8]) {}

    fn received(&self, _: &str, mut packets: &[u8]) {
        let mut state = self.state.lock().unwrap();
        while let Some((&first, rest)) = packets.split_first() {
            let (length, rest) = length(rest);
            let (body, rest) = rest.split_at(length);
            match (first >> 4, first >> 1 & 3) {
                (3, 2) => {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let id = u16::from_be_bytes([body[2 + topic], body[3 + topic]]);
                    let known = state.released.remove(&id);
                    let again = first & 8 != 0;
                    state.again += usize::from(known && again);
                }
                (6, _) => {
                    state.released.insert(u16::from_be_bytes([body[0], body[1]]));
                }
                _ => {}
            }
            packets = rest;
        }
    }
}

/// The Remaining Length, and what follows it.
fn length(mut bytes: &[u8]) -> (usize, &[u8]) {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        bytes = rest;
        if byte < 0x80 {
            break;
        }
    }
    (value, bytes)
}
