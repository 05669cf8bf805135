//! Appending and syncing, and nothing else.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::clock::{cpu_us, device_bytes};
use crate::PAYLOAD;

pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
    pub(crate) device_bytes: f64,
}

/// Bytes of a message: the payload, a topic, and what a packet needs.
const MESSAGE: usize = PAYLOAD + 26;
const FILE: u64 = 2 << 30;

/// A producer keeps `in_flight` messages queued or being synced.
pub(crate) fn run(directory: &Path, in_flight: usize, seconds: f64) -> Run {
    std::fs::create_dir_all(directory).expect("a directory");
    let path = directory.join("raw");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(&path).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE).expect("room");
    file.sync_all().expect("a sync");
    let queue = Mutex::new(Vec::<u8>::new());
    let arrived = Condvar::new();
    let (durable, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (start, cpu, device) = (Instant::now(), cpu_us(), device_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut buffer, mut offset) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let mut queued = queue.lock().expect("the queue");
                while queued.is_empty() && !stop.load(Ordering::Relaxed) {
                    let wait = Duration::from_millis(50);
                    queued = arrived.wait_timeout(queued, wait).expect("the queue").0;
                }
                std::mem::swap(&mut buffer, &mut queued);
                drop(queued);
                if offset + buffer.len() as u64 > FILE {
                    offset = 0;
                }
                file.write_all_at(&buffer, offset).expect("a write");
                file.sync_data().expect("a sync");
                offset += buffer.len() as u64;
                let messages = buffer.len() / MESSAGE;
                durable.fetch_add(messages as u64, Ordering::Release);
                buffer.clear();
                PRODUCER.notify();
            }
        });
        let message = [7; MESSAGE];
        let mut sent = 0;
        while start.elapsed().as_secs_f64() < seconds {
            let room = in_flight as u64 - (sent - durable.load(Ordering::Acquire));
            if room == 0 {
                PRODUCER.wait();
                continue;
            }
            let mut queued = queue.lock().expect("the queue");
            (0..room).for_each(|_| queued.extend_from_slice(&message));
            drop(queued);
            sent += room;
            arrived.notify_one();
        }
        stop.store(true, Ordering::Relaxed);
        arrived.notify_one();
    });
    let messages = durable.load(Ordering::Relaxed) as f64;
    let run = Run {
        rate: messages / start.elapsed().as_secs_f64(),
        cpu_us: (cpu_us() - cpu) / messages,
        device_bytes: (device_bytes() - device) / messages,
    };
    drop(std::fs::remove_file(&path));
    run
}

/// Lets the producer sleep.
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

static PRODUCER: Bell = Bell { rung: Mutex::new(false), changed: Condvar::new() };

impl Bell {
    fn notify(&self) {
        *self.rung.lock().expect("the bell") = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().expect("the bell");
        while !*rung {
            rung = self.changed.wait(rung).expect("the bell");
        }
        *rung = false;
    }
}
