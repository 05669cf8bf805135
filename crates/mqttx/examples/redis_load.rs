//! How many messages a second go through a Redis store: each is stored, gets a packet id, and is finished.
//!
//! `cargo run --release -p mqttx --features redis --example redis_load -- redis://127.0.0.1:6379 1000 16 10`: a thousand
//! sessions with 16 messages in flight each, for ten seconds. Everything below the prefix `load:` stays behind.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use mqttx::proto::{
    Lsn, PacketId, Priority, PropertiesRef, QoS, Record, RecordBatch, Sequence, StoredMessage,
};
use mqttx::store::Update;
use mqttx::{Error, RedisStore, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.first().map_or("redis://127.0.0.1:6379", String::as_str);
    let number =
        |n: usize, default| arguments.get(n).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (sessions, in_flight, seconds) = (number(1, 1000), number(2, 16), number(3, 10));
    let store = RedisStore::new(url)?.prefix("load:");
    let mut tasks = Vec::new();
    let opening = Instant::now();
    for n in 0..sessions {
        let store = store.clone();
        tasks.push(tokio::spawn(async move { store.open(&format!("s{n}")).await }));
    }
    let mut opened = Vec::new();
    for task in tasks {
        opened.push(task.await.expect("it does not panic")?);
    }
    println!("opened {sessions} sessions in {:?}", opening.elapsed());
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = opened
        .into_iter()
        .map(|opened| tokio::spawn(run(opened.lanes[0].end, opened.log, in_flight, end)))
        .collect();
    let (mut messages, mut waits) = (0, Vec::new());
    for task in tasks {
        let (finished, mut waited) = task.await.expect("it does not panic")?;
        messages += finished;
        waits.append(&mut waited);
    }
    let elapsed = started.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at =
        |part: f64| waits.get((waits.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!("{:.0} messages/s, three records each", messages as f64 / elapsed);
    println!("stored after {:?} (half), {:?} (99 %)", at(0.5), at(0.99));
    store.close().await;
    Ok(())
}

/// As a session: the next message when one is finished.
async fn run(
    mut next: u64,
    mut log: Box<dyn mqttx::store::Log>,
    in_flight: u64,
    end: Instant,
) -> Result<(u64, Vec<Duration>), Error> {
    let mut batch = RecordBatch::new();
    let mut submitted: Lsn = 0;
    let mut open: VecDeque<(u64, Lsn, Instant)> = VecDeque::new();
    let (mut finished, mut waits) = (0, Vec::new());
    loop {
        let now = Instant::now();
        while (open.len() as u64) < in_flight && now < end {
            push(&mut batch, next);
            submitted += 2;
            open.push_back((next, submitted, now));
            next += 1;
        }
        if !batch.is_empty() {
            log.submit(&mut batch);
        }
        if open.is_empty() {
            return Ok((finished, waits));
        }
        if let Update::Progress(progress) = poll_fn(|cx| log.poll_update(cx)).await? {
            while let Some(&(number, position, since)) = open.front()
                && position <= progress.synced
            {
                open.pop_front();
                waits.push(since.elapsed());
                batch.push(&Record::Done { sequence: Sequence::new(Priority::LOWEST, number) });
                submitted += 1;
                finished += 1;
            }
        }
    }
}

fn push(batch: &mut RecordBatch, number: u64) {
    let sequence = Sequence::new(Priority::LOWEST, number);
    let message = StoredMessage {
        topic: "plant/line/7/temperature",
        payload: &[b'x'; 100],
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        give_up_at: None,
        origin: None,
    };
    batch.push(&Record::Enqueue { sequence, message });
    let id = PacketId::new((number % 65_535) as u16 + 1).expect("not 0");
    batch.push(&Record::Assign { sequence, id, order: number });
}
