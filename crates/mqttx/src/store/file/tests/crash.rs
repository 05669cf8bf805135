//! What is there after the power went, or the disk failed.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use mqttx_proto::{PropertiesRef, QoS, Record, RecordBatch, SubscribeOptions};

use super::super::engine::Options;
use super::disk::{FaultDisk, Faults};
use super::harness::*;
use crate::store::{FoldedState, Update};

/// A batch of a session: messages, or what became of them. One frame or a row of them, so that what survives a crash is the
/// state after a prefix.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(Vec<usize>),
    Change(Vec<(u8, Index)>),
    /// Waits until everything is durable.
    Sync,
    /// Closes the store and opens it again.
    Reopen,
    /// The process is killed.
    Kill,
    /// The machine stops.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0usize..600, 1..8).prop_map(Step::Enqueue),
        6 => prop::collection::vec((0u8..9, any::<Index>()), 1..8).prop_map(Step::Change),
        3 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

/// What the session knows: the records, one batch behind the other, and the states behind each.
struct Model {
    next: u64,
    order: u64,
    open: Vec<u64>,
    states: Vec<FoldedState>,
    /// As many records were submitted when the state was reached.
    counts: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        Self {
            next: 0,
            order: 0,
            open: vec![],
            states: vec![FoldedState::default()],
            counts: vec![0],
        }
    }

    fn submit(&mut self, client: &mut Client, batch: &RecordBatch) {
        let records: Vec<_> = batch.iter().map(Result::unwrap).collect();
        for record in &records {
            // Each record may be the last that survives.
            let mut state = self.states.last().unwrap().clone();
            state.apply(record);
            self.states.push(state);
            self.counts.push(self.counts.last().unwrap() + 1);
        }
        client.submit(&records);
    }

    fn enqueue(&mut self, client: &mut Client, sizes: &[usize]) {
        let mut batch = RecordBatch::new();
        for &size in sizes {
            let payload = vec![self.next as u8; size];
            batch.push(&message(seq(self.next), &payload));
            self.open.push(self.next);
            self.next += 1;
        }
        self.submit(client, &batch);
    }

    fn change(&mut self, client: &mut Client, changes: &[(u8, Index)]) {
        let mut batch = RecordBatch::new();
        for (kind, index) in changes {
            let id = id(index.index(5) as u16 + 1);
            let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
            match kind {
                0 => batch.push(&Record::Received { id }),
                1 => batch.push(&Record::Forgotten { id }),
                2 => batch.push(&Record::Subscribe {
                    filter: ["a", "b/#", "c/+"][index.index(3)],
                    options,
                    identifier: None,
                    properties: PropertiesRef::EMPTY,
                }),
                3 => {
                    batch.push(&Record::Unsubscribe { filter: ["a", "b/#", "c/+"][index.index(3)] })
                }
                4 => batch.push(&Record::Connecting),
                _ if self.open.is_empty() => {}
                5 => {
                    self.order += 1;
                    let sequence = seq(self.open[index.index(self.open.len())]);
                    batch.push(&Record::Assign { sequence, id, order: self.order });
                }
                6 => {
                    let sequence = seq(self.open[index.index(self.open.len())]);
                    batch.push(&Record::Requeue { sequence });
                }
                _ => {
                    let number = self.open.remove(index.index(self.open.len()));
                    batch.push(&Record::Done { sequence: seq(number) });
                }
            }
        }
        if !batch.is_empty() {
            self.submit(client, &batch);
        }
    }

    /// The store came back with one of the states from `least` records on; it goes on from there.
    fn came_back(&mut self, client: &mut Client, least: u64) {
        let state = client.state();
        let found = shown(&state);
        let matching = (0..self.states.len())
            .rev()
            .find(|&at| self.counts[at] >= least && shown(&self.states[at]) == found);
        assert!(
            matching.is_some(),
            "{found:#?}\nis no state behind record {least}; the last is\n{:#?}\n{:?}",
            shown(self.states.last().unwrap()),
            client.notices
        );
        assert!(client.lanes[0].end >= state.ends()[0]);
        self.next = client.lanes[0].end.max(self.next);
        self.open = state
            .records()
            .iter()
            .filter_map(|record| match record.unwrap() {
                Record::Enqueue { sequence, .. } => Some(sequence.number()),
                _ => None,
            })
            .collect();
        (self.states, self.counts) = (vec![state], vec![0]);
    }
}

fn run(steps: &[Step], options: &Options, short: Option<usize>) {
    let mut disk = FaultDisk::default();
    disk.set(Faults { short, ..Faults::default() });
    let mut engine = start(&disk, options.clone());
    let mut client = open(&engine, "plant");
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Enqueue(sizes) => model.enqueue(&mut client, sizes),
            Step::Change(changes) => model.change(&mut client, changes),
            Step::Sync => client.until_synced(),
            Step::Reopen => {
                drop(client);
                close(engine);
                engine = start(&disk, options.clone());
                client = open(&engine, "plant");
                assert_eq!(client.notices, []);
                let all = *model.counts.last().unwrap();
                model.came_back(&mut client, all);
            }
            Step::Kill => {
                client.until_written();
                let all = client.submitted;
                disk = disk.kill();
                engine = start(&disk, options.clone());
                client = open(&engine, "plant");
                assert_eq!(client.notices, []);
                model.came_back(&mut client, all);
            }
            Step::Crash(seed) => {
                client.take_updates();
                let synced = client.progress.synced;
                let mut seed = *seed;
                disk = disk.crash(|| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    seed >> 63 == 0
                });
                engine = start(&disk, options.clone());
                client = open(&engine, "plant");
                let lost: u64 = client.notices.iter().map(|notice| notice.lost_records).sum();
                assert_eq!(lost, 0, "a torn end is no damage: {:?}", client.notices);
                model.came_back(&mut client, synced);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_back_is_a_state_that_was_and_has_all_that_was_durable(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(&steps, &options(8 << 10), None);
    }

    #[test]
    fn recycled_segments_change_nothing(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps, &Options { ahead: 0, ..options(4 << 10) }, None);
    }

    #[test]
    fn messages_that_nobody_waits_for_change_nothing(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(&steps, &Options { pace: Duration::from_secs(3600), ..options(8 << 10) }, None);
    }

    #[test]
    fn short_writes_change_nothing(steps in prop::collection::vec(step(), 1..30)) {
        run(&steps, &options(4 << 10), Some(37));
    }
}

#[test]
fn a_failed_sync_is_written_elsewhere_and_told() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"before")]);
    client.store(&[Record::Assign { sequence: seq(0), id: id(1), order: 1 }]);
    disk.set(Faults { bad_syncs: 1, ..Faults::default() });
    client.store(&[message(seq(1), b"hit"), message(seq(2), b"hit and done")]);
    client.until(|client| !client.notices.is_empty());
    client.store(&[Record::Done { sequence: seq(2) }, message(seq(3), b"after")]);
    let crashed = start(&disk.crash(|| false), options(64 << 10));
    let mut again = open(&crashed, "plant");
    let state = again.state();
    assert_eq!((state.messages(), state.in_flight()), (3, 1));
    drop(client);
    close(engine);
    let engine = start(&disk, options(64 << 10));
    assert_eq!(open(&engine, "plant").state().messages(), 3);
}

#[test]
fn a_disk_that_stays_ill_ends_every_log() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let (mut a, mut b) = (open(&engine, "a"), open(&engine, "b"));
    a.store(&[message(seq(0), b"x")]);
    disk.set(Faults { bad_syncs: u32::MAX, ..Faults::default() });
    a.submit(&[message(seq(1), b"y")]);
    for client in [&mut a, &mut b] {
        let error = loop {
            match client.update() {
                Ok(Update::Progress(progress)) => assert!(progress.synced <= 1),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), "store.io");
    }
}
