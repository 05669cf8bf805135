//! A sync on its own thread that fails while the commit thread writes the groups behind it.

use std::sync::Arc;

use mqttx_proto::Record;
use tokio::sync::oneshot;

use super::super::engine::{Engine, Request};
use super::disk::{FaultDisk, Faults, HeldSync};
use super::harness::*;
use crate::error::Error;
use crate::store::Update;

/// More than is synced on the spot.
const LARGE: usize = 20 << 10;

/// A store at the moment that matters: a sync of a group of `plant` lasts, and groups were written behind it.
struct Lasting {
    disk: FaultDisk,
    engine: Arc<Engine>,
    /// One message is durable, one is part of the sync, one was written behind it.
    plant: Client,
    /// One message is durable, its packet id was written behind the sync.
    office: Client,
    sync: HeldSync,
}

impl Lasting {
    fn begin() -> Self {
        let disk = FaultDisk::default();
        let engine = start(&disk, options(1 << 20));
        let (mut plant, mut office) = (open(&engine, "plant"), open(&engine, "office"));
        plant.store(&[message(seq(0), b"durable")]);
        office.store(&[message(seq(0), b"durable")]);
        let sync = disk.hold_sync();
        plant.submit(&[message(seq(1), &[1; LARGE])]);
        sync.until_reached();
        let assign = |number| Record::Assign { sequence: seq(number), id: id(1), order: 1 };
        plant.submit(&[message(seq(2), b"behind the sync"), assign(2)]);
        office.submit(&[assign(0)]);
        plant.until_written();
        office.until_written();
        Self { disk, engine, plant, office, sync }
    }

    /// Nobody was told that more is durable than what was before the sync.
    fn nothing_more_is_durable(&mut self) {
        for client in [&mut self.plant, &mut self.office] {
            client.take_updates();
            assert_eq!(client.progress.synced, 1);
        }
    }
}

/// What a log says until it ends.
fn end_of(client: &mut Client) -> Error {
    loop {
        match client.update() {
            Ok(Update::Progress(progress)) => assert!(progress.synced <= 1, "{progress:?}"),
            Ok(Update::Notice(notice)) => panic!("nothing was saved: {}", notice.text),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// Messages and packet ids of both sessions, after the store was opened again.
fn found(disk: &FaultDisk) -> [(usize, usize); 2] {
    let engine = start(disk, options(1 << 20));
    ["plant", "office"].map(|name| {
        let mut client = open(&engine, name);
        let lost: u64 = client.notices.iter().map(|notice| notice.lost_records).sum();
        assert_eq!(lost, 0, "a torn end is no damage: {:?}", client.notices);
        let state = client.state();
        (state.messages(), state.in_flight())
    })
}

/// The states that the records lead to, one after the other.
const PLANT: [(usize, usize); 4] = [(1, 0), (2, 0), (3, 0), (3, 1)];
const OFFICE: [(usize, usize); 2] = [(1, 0), (1, 1)];

#[test]
fn sync_that_fails_on_an_ill_disk_ends_every_log_with_nothing_more_durable() {
    let mut lasting = Lasting::begin();
    lasting.nothing_more_is_durable();
    lasting.disk.set(Faults { bad_syncs: u32::MAX, ..Faults::default() });
    lasting.sync.fail();
    for client in [&mut lasting.plant, &mut lasting.office] {
        assert_eq!(end_of(client).code(), "store.io");
        client.submit(&[message(seq(9), b"too late")]);
        assert_eq!(end_of(client).code(), "store.io", "what comes later ends the same way");
    }
    let (reply, opened) = oneshot::channel();
    let engine = Arc::clone(&lasting.engine);
    lasting.engine.request(Request::Open { name: "new".into(), engine, reply });
    assert_eq!(block_on(opened).unwrap().unwrap_err().code(), "store.io");
    // The machine stops: what was durable is there, and of the rest a prefix at most.
    assert_eq!(found(&lasting.disk.crash(|| false)), [PLANT[0], OFFICE[0]]);
    for seed in 0..50_u64 {
        let mut state = seed;
        let crashed = lasting.disk.crash(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 63 == 0
        });
        let [plant, office] = found(&crashed);
        assert!(PLANT.contains(&plant) && OFFICE.contains(&office), "{plant:?} {office:?}");
    }
    // The process ends: what was written is there.
    assert_eq!(found(&lasting.disk.kill()), [PLANT[3], OFFICE[1]]);
}

#[test]
fn groups_behind_a_sync_that_failed_are_durable_once_they_are_written_elsewhere() {
    let lasting = Lasting::begin();
    let (header, again) = (lasting.disk.hold_sync(), lasting.disk.hold_sync());
    lasting.sync.fail();
    header.until_reached();
    header.succeed();
    again.until_reached();
    let Lasting { disk, mut plant, mut office, engine, .. } = lasting;
    for client in [&mut plant, &mut office] {
        client.take_updates();
        assert_eq!((client.progress.synced, client.notices.len()), (1, 0), "not durable yet");
    }
    assert_eq!(found(&disk.crash(|| false)), [PLANT[0], OFFICE[0]]);
    again.succeed();
    for client in [&mut plant, &mut office] {
        client.until(|client| client.progress.synced == client.submitted);
        client.until(|client| !client.notices.is_empty());
    }
    assert_eq!(found(&disk.crash(|| false)), [PLANT[3], OFFICE[1]]);
    // It goes on.
    plant.store(&[Record::Done { sequence: seq(2) }, message(seq(3), &[3; LARGE])]);
    drop((plant, office));
    close(engine);
    assert_eq!(found(&disk), [(3, 0), OFFICE[1]]);
}

#[test]
fn who_waits_for_a_sync_that_fails_is_answered_when_all_of_it_is_durable() {
    let lasting = Lasting::begin();
    let again = [lasting.disk.hold_sync(), lasting.disk.hold_sync()];
    let (reply, mut flushed) = oneshot::channel();
    lasting.engine.request(Request::Flush(reply));
    lasting.sync.fail();
    for sync in again {
        sync.until_reached();
        assert!(flushed.try_recv().is_err(), "nothing of it is durable yet");
        sync.succeed();
    }
    block_on(flushed).unwrap();
    assert_eq!(found(&lasting.disk.crash(|| false)), [PLANT[3], OFFICE[1]]);
}

/// The sync was good; what was written while it lasted is not part of it.
#[test]
fn sync_that_succeeds_makes_durable_only_what_was_written_before_it() {
    let Lasting { disk, engine: _engine, mut plant, mut office, sync } = Lasting::begin();
    let next = disk.hold_sync();
    sync.succeed();
    next.until_reached();
    plant.until(|client| client.progress.synced == 2);
    office.take_updates();
    assert_eq!(office.progress.synced, 1);
    assert_eq!(found(&disk.crash(|| false)), [PLANT[1], OFFICE[0]]);
    next.succeed();
    plant.until(|client| client.progress.synced == client.submitted);
    office.until(|client| client.progress.synced == client.submitted);
    assert_eq!(found(&disk.crash(|| false)), [PLANT[3], OFFICE[1]]);
}
