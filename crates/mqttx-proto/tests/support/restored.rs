//! Any records of a store, in any order, damaged ones among them: no panic, and the counts agree in the end.

use std::time::Instant;

use mqttx_proto::{
    Config, OutboxLimits, PacketId, Priority, PropertiesRef, QoS, ReasonCode, Record, RecordBatch,
    Sequence, Session, StoredLane, StoredMessage, SubscribeOptions, Transmit, Version,
};

/// Interprets `data` as what a store gives back, and lets the session live with it.
pub(crate) fn live_with(data: &[u8]) {
    let mut input = data.iter().copied();
    let setting = input.next().unwrap_or(0);
    let mut config = Config::new(if setting & 1 == 0 { Version::V311 } else { Version::V5 });
    config.client_id = "s".to_owned();
    config.clean_start = false;
    config.journal = true;
    config.spill = (setting & 2 != 0).then_some(OutboxLimits { messages: 2, bytes: 100 });
    let mut lanes = [StoredLane::default(); Priority::COUNT];
    if setting & 4 != 0 {
        for lane in &mut lanes {
            let power = u32::from(setting >> 4);
            let mut number = || u64::from(input.next().unwrap_or(0)).saturating_pow(power);
            *lane =
                StoredLane { next: number(), end: number(), messages: number(), bytes: number() };
        }
    }
    let count = input.next().unwrap_or(0);
    let records = batch(&mut input, count.into());
    let mut session = Session::new(config);
    let now = Instant::now();
    session.restore_state(now, &records, &lanes);
    check(&session);
    session.handle_connected(now, 0);
    let mut taken = RecordBatch::new();
    let last = session.poll_store(&mut taken);
    session.handle_stored(now, last, last);
    let mut out = Transmit::new();
    session.poll_transmit(&mut out);
    let mut inbound = Vec::new();
    let present = setting >> 3 & 1;
    let connack: &[u8] =
        if setting & 1 == 0 { &[0x20, 2, present, 0] } else { &[0x20, 3, present, 0, 0] };
    session.handle_input(now, connack, &mut inbound);
    for round in 0..6 {
        if let Some(wanted) = session.poll_fetch() {
            let found = batch(&mut input, 4);
            let next = u64::from(input.next().unwrap_or(255));
            session.handle_fetched(now, wanted.priority, next, &found);
        }
        let last = session.poll_store(&mut taken);
        session.handle_stored(now, last, last);
        for id in 0..8 {
            session.handle_input(now, &[0x40 + (round % 2) * 0x10, 2, 0, id], &mut Vec::new());
            session.handle_input(now, &[0x70, 2, 0, id], &mut Vec::new());
        }
        session.poll_transmit(&mut out);
        check(&session);
        while session.poll_event().is_some() {}
    }
    session.drop_oldest();
    session.handle_closed();
}

fn check(session: &Session) {
    let status = session.outbox();
    assert!(status.spilled <= status.messages, "{status:?}");
    assert!(status.in_flight <= session.unacknowledged(), "{status:?}");
    assert_eq!(session.unacknowledged(), status.messages, "there is no QoS 0");
}

fn batch(input: &mut impl Iterator<Item = u8>, count: usize) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for _ in 0..count {
        let (Some(kind), Some(a), Some(b)) = (input.next(), input.next(), input.next()) else {
            break;
        };
        if kind >= 240 {
            batch.push_raw(&[kind - 240, a, b]);
        } else {
            batch.push(&record(kind, a, b));
        }
    }
    batch
}

fn record(kind: u8, a: u8, b: u8) -> Record<'static> {
    let priority = Priority::new(a >> 7).unwrap_or_default();
    let sequence = Sequence::new(priority, u64::from(a & 15));
    let id = PacketId::new(u16::from(b % 7) + 1).unwrap();
    let filter = ["a", "b/#"][usize::from(a % 2)];
    let message = StoredMessage {
        topic: "t",
        payload: b"payload",
        qos: if b & 8 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
        retain: b & 16 != 0,
        properties: PropertiesRef::EMPTY,
        expires_at: (b & 32 != 0).then_some(u64::from(b)),
        give_up_at: (b & 64 != 0).then_some(u64::MAX),
        origin: None,
    };
    match kind % 14 {
        0..4 => Record::Enqueue { sequence, message },
        4 | 5 => Record::Assign { sequence, id, order: u64::from(kind) << (b % 60) },
        6 => Record::Release { sequence },
        7 => Record::Done { sequence },
        8 => Record::Requeue { sequence },
        9 => Record::Received { id },
        10 => Record::Forgotten { id },
        11 => Record::Subscribe {
            filter,
            options: SubscribeOptions::new(QoS::AtLeastOnce),
            identifier: (b > 9).then_some(u32::from(b)),
            properties: PropertiesRef::EMPTY,
        },
        12 => Record::Granted { filter, code: ReasonCode::new(b % 3) },
        _ => match b % 4 {
            0 => Record::Connecting,
            1 => Record::Resumed,
            2 => Record::Unsubscribe { filter },
            _ => Record::Epoch { epoch: u64::from(a), broker: u64::from(b % 2), client_id: "s" },
        },
    }
}
