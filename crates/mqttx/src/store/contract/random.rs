//! Records drawn at random, with reopenings between them.

use mqttx_proto::{Priority, Record, Sequence};

use super::super::Store;
use super::probe::Probe;
use super::records::{assign, done, enqueue, epoch, forgotten, granted, received, subscribe};

/// Some `operations` of a session that does what sessions do, but in any order; the same for the same seed.
///
/// # Panics
/// When the store gives back something else than the model.
pub async fn random_records_come_back_as_the_model_has_them(
    store: &dyn Store,
    seed: u64,
    operations: usize,
) {
    let name = format!("random-{seed}");
    let mut draw = Draw { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 };
    let mut life = Life::default();
    let mut probe = Probe::new(store, &name).await;
    for _ in 0..operations {
        match draw.below(40) {
            0 => probe = probe.reopen().await,
            1 => probe = probe.reopen_at_once().await,
            2..=5 => probe.synced().await,
            _ => {
                for _ in 0..=draw.below(5) {
                    life.step(&mut draw, &mut probe);
                }
            }
        }
    }
    probe.reopen().await;
}

/// What the session knows of itself.
#[derive(Default)]
struct Life {
    next: [u64; Priority::COUNT],
    queued: Vec<Sequence>,
    in_flight: Vec<(Sequence, u16)>,
    last_id: u16,
    order: u64,
    epoch: u64,
}

impl Life {
    fn step(&mut self, draw: &mut Draw, probe: &mut Probe<'_>) {
        match draw.below(18) {
            0..=4 => self.enqueue(draw, probe),
            5..=7 => {
                let Some(sequence) = draw.take(&mut self.queued) else { return };
                self.last_id = self.last_id % 60_000 + 1;
                self.order += 1 + draw.below(3);
                self.in_flight.push((sequence, self.last_id));
                probe.submit(&[assign(sequence, self.last_id, self.order)]);
            }
            8 | 9 => {
                let Some((sequence, _)) = draw.one(&self.in_flight) else { return };
                probe.submit(&[Record::Release { sequence }]);
            }
            10 | 11 => {
                let Some((sequence, _)) = draw.take(&mut self.in_flight) else { return };
                probe.submit(&[done(sequence)]);
            }
            12 => {
                let Some(sequence) = draw.take(&mut self.queued) else { return };
                probe.submit(&[done(sequence)]);
            }
            13 => {
                let Some((sequence, _)) = draw.take(&mut self.in_flight) else { return };
                self.queued.push(sequence);
                probe.submit(&[Record::Requeue { sequence }]);
            }
            14 => probe.submit(&[received(1 + draw.below(50) as u16)]),
            15 => probe.submit(&[forgotten(1 + draw.below(50) as u16)]),
            16 => subscriptions(draw, probe),
            _ => self.connection(draw, probe),
        }
    }

    fn enqueue(&mut self, draw: &mut Draw, probe: &mut Probe<'_>) {
        let priority = Priority::new(draw.below(4) as u8).expect("below 4");
        let next = &mut self.next[usize::from(priority.get())];
        *next += draw.below(2);
        let sequence = Sequence::new(priority, *next);
        *next += 1;
        self.queued.push(sequence);
        let size = [0, 1, 10, 100, 5000][draw.below(5) as usize];
        let payload: Vec<u8> = (0..size).map(|_| draw.below(256) as u8).collect();
        probe.submit(&[enqueue(sequence, &payload)]);
    }

    fn connection(&mut self, draw: &mut Draw, probe: &mut Probe<'_>) {
        match draw.below(4) {
            0 | 1 => probe.submit(&[Record::Connecting]),
            2 => probe.submit(&[Record::Resumed]),
            _ => {
                self.epoch += 1;
                probe.submit(&[Record::Connecting, epoch(self.epoch)]);
            }
        }
    }
}

fn subscriptions(draw: &mut Draw, probe: &mut Probe<'_>) {
    let filter = ["a", "a/#", "+/b", "c", "d/e"][draw.below(5) as usize];
    match draw.below(3) {
        0 => probe.submit(&[subscribe(filter)]),
        1 => probe.submit(&[granted(filter)]),
        _ => probe.submit(&[Record::Unsubscribe { filter }]),
    }
}

/// Xorshift: the same numbers everywhere.
struct Draw {
    state: u64,
}

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }

    fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.below(from.len() as u64) as usize;
        Some(from.swap_remove(at))
    }

    fn one<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        from.get(self.below(from.len() as u64) as usize).copied()
    }
}
