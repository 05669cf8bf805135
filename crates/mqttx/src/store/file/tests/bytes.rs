//! The format: what was written stays readable, and what is read is what was written.

use std::collections::BTreeMap;

use proptest::prelude::*;

use mqttx_proto::{PropertiesRef, QoS, Record, Sequence, SubscribeOptions};

use super::super::changes::{Change, Changes, ReadChanges};
use super::super::disk::Access;
use super::super::format::{
    FrameHeader, GROUP_FRAME, GroupInfo, Kind, SEGMENT_HEADER, SegmentHeader, fill_group,
    put_frame, put_message,
};
use super::super::index::{LaneIndex, Position};
use super::super::recover::recover;
use super::disk::FaultDisk;
use super::harness::*;

/// A segment of format 1: a name, a message with an id, an end.
fn segment() -> Vec<u8> {
    let header = SegmentHeader { version: 1, id: 7, size: 0, cold: false, recycled: false };
    let mut bytes = vec![0; GROUP_FRAME];
    let place = (7, SEGMENT_HEADER);
    put_frame(&mut bytes, place, (Kind::Name, 3), b"plant");
    let mut raw = Vec::new();
    message(seq(5), b"hello").encode(&mut raw);
    put_message(&mut bytes, place, 3, &raw);
    let mut changes = Changes::default();
    changes.push(&Record::Assign { sequence: seq(5), id: id(9), order: 1 }, &[]);
    put_frame(&mut bytes, place, (Kind::Changes, 3), changes.bytes());
    let len = (bytes.len() - GROUP_FRAME) as u32;
    let info = GroupInfo { unix_ms: 1_700_000_000_000, durable: SEGMENT_HEADER, len };
    fill_group(&mut bytes, 7, SEGMENT_HEADER, &info);
    let durable = SEGMENT_HEADER + bytes.len() as u64;
    put_frame(&mut bytes, place, (Kind::End, 0), &GroupInfo { durable, len: 0, ..info }.encode());
    [header.encode().to_vec(), bytes].concat()
}

const FORMAT_1: &str = "\
    6d717474786c6f67010000000000000007000000000000000000000000000000000000000000000000000000\
    0000000000000000000000000000000016d5a11f6931f250fd1f57a714000020000000000068e5cf8b010000\
    4000000000000000500000001cc18dd94b4c69560500004003000000706c616e74c4c898dd38ee46d30f0000\
    6003000000050000000000000001000000000300612f6268656c6c6fd26eed3b2f3ca71b0400008003000000\
    010a1202d1e5b17e0669c1a6140000a0000000000068e5cf8b010000b40000000000000000000000\
";

#[test]
fn a_segment_of_format_1_is_written_and_read_as_ever() {
    // Another format gets another version, a test like this one, and code that reads both.
    let hex: String = segment().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, FORMAT_1);
    let disk = FaultDisk::with_files(&[("000000000007.segment".into(), segment())]);
    let recovered = recover(&disk, Access::Read, true).unwrap();
    assert_eq!(recovered.notices, []);
    assert_eq!(recovered.next_id, 8);
    let session = &recovered.catalog.sessions[&3];
    assert_eq!((&*session.name, session.ends()[0]), ("plant", 6));
    assert_eq!(session.in_flight()[0].id, id(9));
}

#[test]
fn a_header_counts_only_where_it_was_written() {
    let bytes = segment();
    let frame = &bytes[SEGMENT_HEADER as usize..];
    assert!(FrameHeader::decode(frame, 7, SEGMENT_HEADER, 1000).is_some());
    assert!(FrameHeader::decode(frame, 8, SEGMENT_HEADER, 1000).is_none(), "another life");
    assert!(FrameHeader::decode(frame, 7, SEGMENT_HEADER + 1, 1000).is_none(), "a copy");
    assert!(FrameHeader::decode(frame, 7, SEGMENT_HEADER, 10).is_none(), "longer than there is");
}

fn change() -> impl Strategy<Value = (u8, u64, u16, u64)> {
    (0u8..8, any::<u64>(), 1u16.., any::<u64>())
}

proptest! {
    #[test]
    fn changes_come_back_as_they_were(
        changes in prop::collection::vec(change(), 0..50),
        garbage in prop::collection::vec(any::<u8>(), 0..50),
        steps in 0u64..20,
    ) {
        let mut out = Changes::default();
        let mut expected = Vec::new();
        for &(kind, bits, number, order) in &changes {
            let (sequence, id) = (Sequence::from_bits(bits), id(number));
            let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
            let properties = PropertiesRef::EMPTY;
            let record = match kind {
                0 => Record::Assign { sequence, id, order },
                1 => Record::Done { sequence },
                2 => Record::Release { sequence },
                3 => Record::Requeue { sequence },
                4 => Record::Received { id },
                5 => Record::Forgotten { id },
                6 => Record::Connecting,
                _ => Record::Subscribe { filter: "a/#", options, identifier: None, properties },
            };
            let mut raw = Vec::new();
            record.encode(&mut raw);
            out.push(&record, &raw);
            expected.push(Change::Record(record));
        }
        // Those in a row are the short ones.
        for step in 0..steps {
            let record = Record::Done { sequence: seq(step) };
            out.push(&record, &[]);
            expected.push(Change::Record(record));
        }
        out.push_reset([1, 2, 3, u64::MAX]);
        expected.push(Change::Reset([1, 2, 3, u64::MAX]));
        out.push_done_run(seq(9), 1000);
        expected.push(Change::DoneRun(seq(9), 1000));
        prop_assert_eq!(ReadChanges::new(out.bytes()).collect::<Vec<_>>(), expected);
        // Whatever it is, it ends.
        ReadChanges::new(&garbage).for_each(drop);
    }

    #[test]
    fn an_index_is_a_map_of_numbers(ops in prop::collection::vec((0u64..600, 0u8..3), 0..300)) {
        let (mut index, mut model) = (LaneIndex::default(), BTreeMap::new());
        for (at, (number, op)) in ops.into_iter().enumerate() {
            let position = Position::new(at as u32, 64 + number, 100 + at, at % 2 == 0);
            match op {
                0 => prop_assert_eq!(index.insert(number, position), model.insert(number, position)),
                1 => prop_assert_eq!(index.remove(number), model.remove(&number)),
                _ => prop_assert_eq!(index.get(number), model.get(&number).copied()),
            }
            let from = number / 2;
            let expected: Vec<_> = model.range(from..).map(|(&key, &value)| (key, value)).collect();
            prop_assert_eq!(index.from(from).collect::<Vec<_>>(), expected);
            prop_assert_eq!(index.messages(), model.len() as u64);
            prop_assert_eq!(index.bytes(), model.values().map(|position| position.len()).sum::<u64>());
        }
    }

    #[test]
    fn a_position_keeps_what_it_was_made_of(
        slot in 0u32..1 << 24,
        offset in 64u64..1 << 30,
        len in 1usize..1 << 29,
        qos2: bool,
    ) {
        let position = Position::new(slot, offset, len, qos2);
        prop_assert_eq!((position.slot(), position.offset()), (slot, offset));
        prop_assert_eq!(position.is_qos2(), qos2);
        let about = position.len() as usize;
        prop_assert!(about <= len && len - about <= len / 16, "{} of {}", about, len);
    }
}
