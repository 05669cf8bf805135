//! Packet ids that a server may still hold for QoS 2 from a life of this client that nothing is known about.

use crate::PacketId;

const WORDS: usize = 1024;

/// Which ids are known to be free at the server.
///
/// Without a clean start and without stored state the server may resume a session in which an id waits for PUBREL; a new QoS 2
/// message with that id would be taken for a duplicate and vanish. PUBREL answered by PUBCOMP makes an id safe.
#[derive(Debug)]
pub(crate) struct IdGuard {
    clear: Vec<u64>,
}

impl Default for IdGuard {
    fn default() -> Self {
        Self { clear: vec![0; WORDS] }
    }
}

impl IdGuard {
    pub(crate) fn is_clear(&self, id: PacketId) -> bool {
        let (word, bit) = place(id);
        self.clear.get(word).is_some_and(|w| w & bit != 0)
    }

    pub(crate) fn clear(&mut self, id: PacketId) {
        let (word, bit) = place(id);
        if let Some(w) = self.clear.get_mut(word) {
            *w |= bit;
        }
    }
}

fn place(id: PacketId) -> (usize, u64) {
    (usize::from(id.get()) / 64, 1 << (id.get() % 64))
}
