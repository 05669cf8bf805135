//! From the segments on the disk to what they say.
//!
//! Cold segments come first: they hold copies of messages alone, and whatever finished one of those is told by a hot segment.
//! Then the hot ones follow in the order of their ids. Only the last of these can end in the middle of something: there,
//! what was durable is known from the groups, each of which names the offset below which all was durable before it. Damage
//! below is damage. Above it, what is not whole was never there, and neither is what follows it.

use std::io;
use std::sync::Arc;

use mqttx_proto::{Priority, Sequence};

use super::catalog::Catalog;
use super::changes::ReadChanges;
use super::disk::{Access, Disk, DiskFile, read_full_at};
use super::format::{FrameHeader, Kind, SEGMENT_HEADER, SegmentHeader, VERSION};
use super::index::{MAX_OFFSET, Position};
use super::scan::{Found, Scan};
use super::segment::{Segment, Stage, file_name, parse_file_name};
use crate::error::Error;
use crate::store::StoreNotice;

/// What recovery found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) notices: Vec<StoreNotice>,
    /// Records that were found damaged.
    pub(super) damaged: u64,
    /// Above all ids of segments.
    pub(super) next_id: u64,
    /// Files that hold nothing.
    pub(super) empty: Vec<String>,
    /// The segments that have no end record, with where they end.
    pub(super) unsealed: Vec<(u32, u64)>,
    /// For tools: when what stands from an offset on was written.
    pub(super) times: Vec<(u32, u64, u64)>,
}

/// A file that looks like a segment.
#[derive(Debug)]
struct Candidate {
    name: String,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
    len: u64,
}

/// Reads all segments. `keep_times` costs memory and is for tools.
pub(super) fn recover(
    disk: &dyn Disk,
    access: Access,
    keep_times: bool,
) -> Result<Recovered, Error> {
    let mut recovery =
        Recovery { out: Recovered { next_id: 1, ..Recovered::default() }, keep_times };
    let mut candidates = recovery.candidates(disk, access)?;
    candidates.sort_unstable_by_key(|candidate| (!candidate.header.cold, candidate.header.id));
    let last = recovery.cut_last(&mut candidates)?;
    for candidate in candidates {
        let is_last = last.as_ref().is_some_and(|last| last.id == candidate.header.id);
        let end = last.as_ref().filter(|_| is_last).map_or(candidate.len, |last| last.cut);
        recovery.read(candidate, end, is_last).map_err(unreadable)?;
    }
    recovery.finish();
    Ok(recovery.out)
}

fn unreadable(error: io::Error) -> Error {
    Error::store(format!("the store cannot be read: {error}")).with_source(error)
}

struct Recovery {
    out: Recovered,
    keep_times: bool,
}

/// Where the last hot segment ends.
struct Last {
    id: u64,
    cut: u64,
}

impl Recovery {
    fn candidates(&mut self, disk: &dyn Disk, access: Access) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for name in disk.list().map_err(unreadable)? {
            let Some(id) = parse_file_name(&name) else {
                if name.ends_with(".new") || name.ends_with(".old") {
                    // It is removed in the background: meanwhile no new segment may need its name.
                    let id = name.split('.').next().and_then(|digits| digits.parse::<u64>().ok());
                    let next = id.and_then(|id| id.checked_add(1)).unwrap_or_default();
                    self.out.next_id = self.out.next_id.max(next);
                    self.out.empty.push(name);
                }
                continue;
            };
            self.out.next_id = self.out.next_id.max(id + 1);
            match self.candidate(disk, access, &name, id) {
                // A tool may look while the store removes segments.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
                Ok(Some(candidate)) if candidate.header.version > VERSION => {
                    let text = format!(
                        "{name} has format {}, this version reads formats up to {VERSION}: use the version that wrote it",
                        candidate.header.version
                    );
                    return Err(Error::store(text).with_code("store.version"));
                }
                Ok(Some(candidate)) => found.push(candidate),
                Ok(None) => self.out.empty.push(name),
            }
        }
        Ok(found)
    }

    /// `None`: there is nothing to keep in it.
    fn candidate(
        &mut self,
        disk: &dyn Disk,
        access: Access,
        name: &str,
        id: u64,
    ) -> io::Result<Option<Candidate>> {
        let file = disk.open(name, access)?;
        let len = file.len()?;
        let mut bytes = [0; SEGMENT_HEADER as usize];
        let read = read_full_at(&*file, &mut bytes, 0)?;
        let intact = SegmentHeader::decode(&bytes[..read]).filter(|header| header.id == id);
        let header = intact.unwrap_or(SegmentHeader {
            version: VERSION,
            id,
            size: len,
            cold: false,
            recycled: true,
        });
        let mut scan = Scan::new(Arc::clone(&file), id, len.min(MAX_OFFSET));
        let empty = scan.next()?.is_none();
        if intact.is_none() {
            let what = if len == 0 { "is empty" } else { "has no intact header" };
            let then =
                if empty { "nothing in it can be read" } else { "its frames are read without it" };
            self.damage(format!("{name} {what}: {then}"), u64::from(empty));
        }
        if empty && intact.is_some_and(|header| len < header.size) {
            self.damage(
                format!("{name} has {len} bytes of {}: its records are lost", header.size),
                0,
            );
        }
        // A segment that was prepared and not used has zeros behind its header.
        if empty && intact.is_some_and(|header| !header.recycled) && !is_zero(&*file)? {
            self.damage(
                format!("{name} holds {len} bytes that are no records: they are dropped"),
                0,
            );
        }
        Ok((!empty).then(|| Candidate { name: name.to_owned(), file, header, len }))
    }

    /// Finds the end of the last hot segment.
    fn cut_last(&mut self, candidates: &mut [Candidate]) -> Result<Option<Last>, Error> {
        let Some(candidate) = candidates.last().filter(|candidate| !candidate.header.cold) else {
            return Ok(None);
        };
        let cut = find_cut(candidate).map_err(unreadable)?;
        let id = candidate.header.id;
        if let Some(torn) = cut.torn {
            let text = format!(
                "{}: {} bytes from offset {} on were cut: a group that was not durable when the machine stopped",
                candidate.name, torn, cut.at
            );
            self.damage(text, 0);
        }
        Ok(Some(Last { id, cut: cut.at }))
    }

    fn damage(&mut self, text: String, lost_records: u64) {
        tracing::warn!(target: "mqttx::store", "{text}");
        self.out.damaged += lost_records;
        self.out.notices.push(StoreNotice { text, lost_records });
    }

    /// Applies a segment.
    fn read(&mut self, candidate: Candidate, end: u64, is_last: bool) -> io::Result<()> {
        let Candidate { name, file, header, len } = candidate;
        let end = end.min(MAX_OFFSET);
        let mut segment = Segment::new(header.id, Arc::clone(&file), len, header.cold);
        segment.stage = Stage::Sealed;
        let Some(slot) = self.out.catalog.segments.add(segment) else {
            return Err(io::Error::other("there are too many segments"));
        };
        let mut reader =
            Reader { scan: Scan::new(file, header.id, end), slot, name: &name, ended: false };
        while let Some(found) = reader.scan.next()? {
            match found {
                Found::Frame(frame, at) => self.frame(&mut reader, &frame, at)?,
                Found::Damage { from, to } => {
                    let text = format!(
                        "{name}: {} damaged bytes at offset {from} were skipped",
                        to - from
                    );
                    self.damage(text, 1);
                }
            }
        }
        let (used, ended) = (reader.scan.offset(), reader.ended);
        if let Some(segment) = self.out.catalog.segments.get_mut(slot) {
            segment.used = used;
        }
        if !ended {
            self.out.unsealed.push((slot, used));
            if len < header.size {
                self.damage(
                    format!("{name} has {len} bytes of {}: its end is lost", header.size),
                    0,
                );
            } else if !is_last && !header.cold {
                self.damage(
                    format!("{name} has no end record: what was behind offset {used} is lost"),
                    0,
                );
            }
        }
        Ok(())
    }

    fn frame(&mut self, reader: &mut Reader<'_>, frame: &FrameHeader, at: u64) -> io::Result<()> {
        let slot = reader.slot;
        let number = frame.session;
        let is_marker = matches!(frame.kind, Kind::Group | Kind::End);
        let Some(payload) = reader.scan.payload(frame, at)? else {
            self.bad_payload(reader.name, frame, at);
            return Ok(());
        };
        if !is_marker {
            self.out.catalog.touch(number, slot);
        }
        match frame.kind {
            Kind::Group | Kind::End => {
                reader.ended |= frame.kind == Kind::End;
                let unix_ms = reader.scan.group(frame, at)?.map_or(0, |info| info.unix_ms);
                if self.keep_times && self.is_later(slot, unix_ms) {
                    self.out.times.push((slot, at, unix_ms));
                }
            }
            Kind::Name => {
                if let Ok(name) = str::from_utf8(payload) {
                    self.out.catalog.name(number, name);
                }
            }
            Kind::Message => {
                let qos2 = payload.first().is_some_and(|flags| flags & 3 == 2);
                let position = Position::new(slot, at, frame.frame_len() as usize, qos2);
                self.out.catalog.enqueue(number, Sequence::from_bits(frame.sequence), position);
            }
            Kind::Changes => {
                for change in ReadChanges::new(payload) {
                    self.out.catalog.apply(number, &change, slot);
                }
            }
        }
        Ok(())
    }

    /// To the second, or every record of a slow session would cost memory.
    fn is_later(&self, slot: u32, unix_ms: u64) -> bool {
        self.out
            .times
            .last()
            .is_none_or(|&(last_slot, _, last)| last_slot != slot || unix_ms.abs_diff(last) >= 1000)
    }

    fn bad_payload(&mut self, name: &str, frame: &FrameHeader, at: u64) {
        let session = self.out.catalog.sessions.get(&frame.session);
        let session = session.map_or("", |session| &session.name);
        let what = match frame.kind {
            Kind::Group | Kind::End => "a group header".to_owned(),
            Kind::Name => format!("the name of session number {}", frame.session),
            Kind::Message => {
                format!("message {} of session {session}", Sequence::from_bits(frame.sequence))
            }
            Kind::Changes => format!("changes of session {session}"),
        };
        let lost = matches!(frame.kind, Kind::Message | Kind::Changes);
        if frame.kind == Kind::Message {
            // Its number was used.
            let sequence = Sequence::from_bits(frame.sequence);
            let state = self.out.catalog.sessions.entry(frame.session).or_default();
            let mut ends = [0; Priority::COUNT];
            ends[usize::from(sequence.priority().get())] = sequence.number().saturating_add(1);
            state.raise_ends(ends);
        }
        let then = if lost { "lost" } else { "not needed" };
        self.damage(
            format!("{name}: {what} at offset {at} is damaged and {then}"),
            u64::from(lost),
        );
    }

    fn finish(&mut self) {
        let catalog = &mut self.out.catalog;
        let unnamed: Vec<u32> = catalog
            .sessions
            .iter()
            .filter(|(_, session)| session.name.is_empty())
            .map(|(&number, _)| number)
            .collect();
        for number in unnamed {
            let name = format!("unnamed-{number}");
            self.out.catalog.name(number, &name);
            self.damage(format!("the name of a session is lost: its state is kept as {name}"), 0);
        }
        if self.out.damaged > 0 {
            // What is lost may have used numbers; they must not be used again.
            for session in self.out.catalog.sessions.values_mut() {
                session.raise_ends(session.ends().map(|end| if end > 0 { end + LEAP } else { 0 }));
            }
        }
    }
}

/// More numbers than a damaged place can have used.
const LEAP: u64 = 1 << 20;

struct Reader<'a> {
    scan: Scan,
    slot: u32,
    name: &'a str,
    ended: bool,
}

struct Cut {
    at: u64,
    /// How many bytes behind it were something.
    torn: Option<u64>,
}

/// Where the groups that can be trusted end.
fn find_cut(candidate: &Candidate) -> io::Result<Cut> {
    let id = candidate.header.id;
    let end = candidate.len.min(MAX_OFFSET);
    let mut scan = Scan::new(Arc::clone(&candidate.file), id, end);
    let (mut durable, mut ended) = (SEGMENT_HEADER, false);
    while let Some(found) = scan.next()? {
        if let Found::Frame(frame, at) = found
            && matches!(frame.kind, Kind::Group | Kind::End)
            && let Some(info) = scan.group(&frame, at)?
        {
            durable = durable.max(info.durable.min(at));
            if frame.kind == Kind::End {
                (durable, ended) = (at + frame.frame_len(), true);
            }
        }
    }
    let valid_end = scan.offset();
    if ended {
        return Ok(Cut { at: durable, torn: None });
    }
    let (at, group_end) = whole_frames(candidate, durable, end)?;
    let torn = if valid_end > at || !candidate.header.recycled {
        // The bytes behind the end of a recycled segment are those of an earlier life.
        remains(candidate, at)?
    } else {
        None
    };
    let missing = group_end.saturating_sub(at);
    Ok(Cut { at, torn: torn.or_else(|| Some(missing).filter(|&missing| missing > 0)) })
}

/// Follows whole frames from `at` on. Returns where they end, and where their last group should.
fn whole_frames(candidate: &Candidate, at: u64, end: u64) -> io::Result<(u64, u64)> {
    let mut scan = Scan::new(Arc::clone(&candidate.file), candidate.header.id, end);
    scan.jump(at);
    let mut group_end = at;
    loop {
        let at = scan.offset();
        match scan.next()? {
            Some(Found::Frame(frame, found)) if scan.payload(&frame, found)?.is_some() => {
                if frame.kind == Kind::Group
                    && let Some(info) = scan.group(&frame, found)?
                {
                    group_end = scan.offset() + u64::from(info.len);
                }
            }
            _ => return Ok((at, group_end)),
        }
    }
}

/// How many bytes from `at` on up to the last that is not zero.
fn remains(candidate: &Candidate, mut at: u64) -> io::Result<Option<u64>> {
    let (start, mut last) = (at, None);
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = read_full_at(&*candidate.file, &mut bytes, at)?;
        if let Some(i) = bytes[..read].iter().rposition(|&byte| byte != 0) {
            last = Some(at + i as u64 + 1 - start);
        }
        if read < bytes.len() {
            return Ok(last);
        }
        at += read as u64;
    }
}

fn is_zero(file: &dyn DiskFile) -> io::Result<bool> {
    let mut at = SEGMENT_HEADER;
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = read_full_at(file, &mut bytes, at)?;
        if bytes[..read].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if read < bytes.len() {
            return Ok(true);
        }
        at += read as u64;
    }
}

/// The name of the segment in a slot, for people.
pub(super) fn name_of(catalog: &Catalog, slot: u32) -> String {
    catalog.segments.get(slot).map_or_else(String::new, |segment| file_name(segment.id))
}
