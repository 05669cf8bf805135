//! Records folded into the state that they describe, for stores that keep states rather than logs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mqttx_proto::{PacketId, Priority, Record, RecordBatch, Sequence};

/// The state of one session: what its records come to.
///
/// ```
/// use mqttx::proto::{PacketId, Record};
/// use mqttx::store::FoldedState;
///
/// let mut state = FoldedState::default();
/// let id = PacketId::new(7).unwrap();
/// state.apply(&Record::Received { id });
/// state.apply(&Record::Forgotten { id });
/// assert!(state.records().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct FoldedState {
    messages: BTreeMap<Sequence, Message>,
    received: BTreeSet<PacketId>,
    /// By filter; the number is the order in which they came.
    filters: HashMap<String, (u64, Filter)>,
    last_filter: u64,
    epoch: Option<Box<[u8]>>,
    connecting: bool,
    ends: [u64; Priority::COUNT],
}

#[derive(Clone, Debug)]
struct Message {
    /// The `Enqueue` record.
    record: Box<[u8]>,
    /// The `Assign` record, by its order.
    assigned: Option<(u64, PacketId)>,
    released: bool,
}

#[derive(Clone, Debug)]
struct Filter {
    /// The `Subscribe` record.
    record: Box<[u8]>,
    /// The `Granted` record.
    granted: Option<Box<[u8]>>,
}

impl FoldedState {
    /// Applies the next record. One that contradicts the earlier ones has no effect.
    pub fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Enqueue { sequence, .. } => {
                let message = Message { record: bytes(record), assigned: None, released: false };
                self.messages.insert(sequence, message);
                let end = &mut self.ends[usize::from(sequence.priority().get())];
                *end = (*end).max(sequence.number() + 1);
            }
            Record::Assign { sequence, id, order } => {
                self.change(sequence, |message| message.assigned = Some((order, id)));
            }
            Record::Release { sequence } => {
                self.change(sequence, |message| message.released = true)
            }
            Record::Requeue { sequence } => self.change(sequence, |message| {
                message.assigned = None;
                message.released = false;
            }),
            Record::Done { sequence } => {
                self.messages.remove(&sequence);
            }
            Record::Received { id } => {
                self.received.insert(id);
            }
            Record::Forgotten { id } => {
                self.received.remove(&id);
            }
            Record::Subscribe { filter, .. } => {
                self.last_filter += 1;
                let kept = Filter { record: bytes(record), granted: None };
                self.filters.insert(filter.to_owned(), (self.last_filter, kept));
            }
            Record::Granted { filter, .. } => {
                if let Some((_, kept)) = self.filters.get_mut(filter) {
                    kept.granted = Some(bytes(record));
                }
            }
            Record::Unsubscribe { filter } => {
                self.filters.remove(filter);
            }
            Record::Connecting => self.connecting = true,
            Record::Resumed => self.connecting = false,
            Record::Epoch { .. } => {
                self.connecting = false;
                self.received.clear();
                self.filters.values_mut().for_each(|(_, kept)| kept.granted = None);
                self.epoch = Some(bytes(record));
            }
            _ => {}
        }
    }

    fn change(&mut self, sequence: Sequence, change: impl FnOnce(&mut Message)) {
        if let Some(message) = self.messages.get_mut(&sequence) {
            change(message);
        }
    }

    /// Records that lead to this state.
    #[must_use]
    pub fn records(&self) -> RecordBatch {
        let mut batch = RecordBatch::new();
        let mut filters: Vec<_> = self.filters.values().collect();
        filters.sort_unstable_by_key(|(order, _)| *order);
        filters.iter().for_each(|(_, kept)| batch.push_raw(&kept.record));
        self.epoch.iter().for_each(|epoch| batch.push_raw(epoch));
        for granted in filters.iter().filter_map(|(_, kept)| kept.granted.as_deref()) {
            batch.push_raw(granted);
        }
        if self.connecting {
            batch.push(&Record::Connecting);
        }
        self.received.iter().for_each(|&id| batch.push(&Record::Received { id }));
        self.messages.values().for_each(|message| batch.push_raw(&message.record));
        let mut assigned: Vec<_> = self
            .messages
            .iter()
            .filter_map(|(&sequence, message)| {
                Some((message.assigned?, sequence, message.released))
            })
            .collect();
        assigned.sort_unstable_by_key(|((order, _), ..)| *order);
        for ((order, id), sequence, released) in assigned {
            batch.push(&Record::Assign { sequence, id, order });
            if released {
                batch.push(&Record::Release { sequence });
            }
        }
        batch
    }

    /// For each priority a number above all that were used.
    #[must_use]
    pub fn ends(&self) -> [u64; Priority::COUNT] {
        self.ends
    }

    /// How many messages are not finished.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// How many of them have a packet id.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.messages.values().filter(|message| message.assigned.is_some()).count()
    }

    /// How many filters are desired.
    #[must_use]
    pub fn filters(&self) -> usize {
        self.filters.len()
    }
}

fn bytes(record: &Record<'_>) -> Box<[u8]> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    bytes.into_boxed_slice()
}
