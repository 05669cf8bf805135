//! Looking at a store without opening it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use mqttx_proto::{Priority, Record, Sequence};

use super::catalog::{Catalog, InFlight, SessionState};
use super::disk::{Access, Disk, OsDisk};
use super::index::Position;
use super::lock::Lock;
use super::reader::read_message;
use super::recover::{Recovered, recover};
use super::scan::{READ_AHEAD, Window};
use crate::error::Error;
use crate::store::{Inspection, StoredSession};

pub(super) fn inspect(directory: &Path, anyway: bool) -> Result<Inspection, Error> {
    let recovered = look(directory, anyway)?;
    let times = Times::new(&recovered);
    let catalog = &recovered.catalog;
    let mut sessions: Vec<_> =
        catalog.sessions.values().map(|session| stored(session, &times)).collect();
    sessions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let bytes = catalog.segments.bytes();
    Ok(Inspection { sessions, notices: recovered.notices, bytes })
}

pub(super) fn read(
    directory: &Path,
    name: &str,
    anyway: bool,
    visit: &mut dyn FnMut(&Record<'_>, Option<u64>),
) -> Result<bool, Error> {
    let recovered = look(directory, anyway)?;
    let times = Times::new(&recovered);
    let catalog = &recovered.catalog;
    let number = catalog.numbers.get(name).copied();
    let Some((number, session)) =
        number.and_then(|number| Some((number, catalog.sessions.get(&number)?)))
    else {
        return Ok(false);
    };
    session.small().iter().flatten().for_each(|record| visit(&record, None));
    let mut messages = Messages { catalog, number, window: None, raw: Vec::new() };
    for priority in (0..Priority::COUNT as u8).filter_map(Priority::new) {
        for (message, position) in session.messages_from(priority, 0) {
            if let Some(record) = messages.read(Sequence::new(priority, message), position) {
                visit(&record, times.of(position));
            }
        }
    }
    for message in session.in_flight() {
        let InFlight { sequence, id, order, released, .. } = message;
        visit(&Record::Assign { sequence, id, order }, None);
        if released {
            visit(&Record::Release { sequence }, None);
        }
    }
    Ok(true)
}

fn look(directory: &Path, anyway: bool) -> Result<Recovered, Error> {
    let disk = OsDisk::open(directory).map_err(|error| {
        let text = format!("there is no store in {}: {error}", directory.display());
        Error::store(text).with_source(error)
    })?;
    if !anyway {
        Lock::check(directory)?;
    }
    recover(&disk as &dyn Disk, Access::Read, true)
}

fn stored(session: &SessionState, times: &Times) -> StoredSession {
    let (messages, bytes) = session.messages();
    let (subscriptions, received) = session.small_counts();
    let in_flight = session.in_flight_len();
    let oldest = (0..Priority::COUNT as u8)
        .filter_map(Priority::new)
        .filter_map(|priority| session.messages_from(priority, 0).next())
        .filter_map(|(_, position)| times.of(position));
    StoredSession {
        name: session.name.to_string(),
        queued: messages.saturating_sub(in_flight),
        in_flight,
        received,
        subscriptions,
        bytes,
        oldest_unix_ms: oldest.min(),
    }
}

/// When what stands where was written.
struct Times(HashMap<u32, Vec<(u64, u64)>>);

impl Times {
    fn new(recovered: &Recovered) -> Self {
        let mut times: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
        for &(slot, offset, unix_ms) in &recovered.times {
            times.entry(slot).or_default().push((offset, unix_ms));
        }
        Self(times)
    }

    fn of(&self, position: Position) -> Option<u64> {
        let times = self.0.get(&position.slot())?;
        let behind = times.partition_point(|&(offset, _)| offset <= position.offset());
        Some(times.get(behind.checked_sub(1)?)?.1)
    }
}

struct Messages<'a> {
    catalog: &'a Catalog,
    number: u32,
    window: Option<Window>,
    raw: Vec<u8>,
}

impl Messages<'_> {
    fn read(&mut self, sequence: Sequence, position: Position) -> Option<Record<'_>> {
        let segment = self.catalog.segments.get(position.slot())?;
        let file = &segment.file;
        let window = self.window.get_or_insert_with(|| Window::new(Arc::clone(file), READ_AHEAD));
        window.turn_to(file, u64::MAX);
        let offset = position.offset();
        read_message(window, segment.id, self.number, sequence, offset, &mut self.raw).ok()?;
        Record::decode(&self.raw).ok()
    }
}
