//! Sessions that feed each other, and themselves, with full queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mqttx::{
    DropReason, ErrorKind, Message, MessageRef, Overflow, Publish, QoS, Route, RouteBuilder,
    Session, SessionManager, Version,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::broker::{Broker, Conduct};
use crate::{LONG, VERSIONS, on_both_runtimes, options, tight};

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// "name hops": what is left of its way, and the message to send on.
fn next(payload: &[u8], topic: &str, qos: QoS) -> Result<Publish, String> {
    let text = std::str::from_utf8(payload).unwrap().trim_end();
    let (name, hops) = text.split_once(' ').unwrap();
    match hops.parse::<u32>().unwrap() {
        0 => Err(name.to_owned()),
        hops => Ok(Publish::new(topic, padded(name, hops - 1)).qos(qos)),
    }
}

/// Some two kilobytes, so that a few dozen fill an inbound buffer.
fn padded(name: &str, hops: u32) -> String {
    format!("{:2000}", format!("{name} {hops}"))
}

/// Sends each message on through `to`, and waits for its acknowledgement in the handler.
fn relay(
    from: RouteBuilder,
    to: &Session,
    topic: &'static str,
    qos: QoS,
    through: &UnboundedSender<String>,
    blocking: bool,
) -> Route {
    let (to, through) = (to.clone(), through.clone());
    let hand_on = move |message: Message| {
        let (to, through) = (to.clone(), through.clone());
        async move {
            match next(message.payload(), topic, qos) {
                Ok(next) => drop(to.publish_message(next).await.unwrap()),
                Err(name) => through.send(name).unwrap(),
            }
        }
    };
    if blocking {
        let runtime = tokio::runtime::Handle::current();
        from.handle(move |message| runtime.block_on(hand_on(message.clone()))).unwrap()
    } else {
        from.handle_async(hand_on).unwrap()
    }
}

/// Whose session a handler publishes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Own,
    Others,
}

async fn ping_pong(version: Version, qos: QoS, way: Way, conduct: Conduct, blocking: bool) {
    const MESSAGES: usize = 60;
    let broker = Broker::start(conduct);
    let manager = SessionManager::new();
    let [a, b] = ["a", "b"]
        .map(|name| manager.add_session(tight(name, &broker, version).build().unwrap()).unwrap());
    let source = manager.add_session(options("source", &broker, version).build().unwrap()).unwrap();
    let (through, mut arrived) = unbounded_channel();
    let (from_a, from_b) = if way == Way::Own { (&a, &b) } else { (&b, &a) };
    let ping = a.route("ping").qos(qos);
    let _ping = relay(ping, from_a, "pong", qos, &through, blocking);
    let pong = b.route("pong").qos(qos);
    let _pong = relay(pong, from_b, "ping", qos, &through, blocking);
    manager.wait_for_all_sessions(LONG).await.unwrap();
    for i in 0..MESSAGES {
        let topic = ["ping", "pong"][i % 2];
        let message = Publish::new(topic, padded(&i.to_string(), 5)).qos(qos);
        drop(source.enqueue(message).await.unwrap());
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    while seen.len() < MESSAGES {
        let name = arrived.recv().await.unwrap();
        *seen.entry(name).or_default() += 1;
    }
    if qos == QoS::ExactlyOnce {
        assert!(seen.values().all(|count| *count == 1), "{version} {way:?}: {seen:?}");
    }
    manager.shutdown(LONG).await;
}

#[test]
fn sessions_that_feed_each_other_lose_nothing_above_qos_0() {
    on_both_runtimes("feeding each other", async || {
        for version in VERSIONS {
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for (way, blocking) in [(Way::Own, false), (Way::Others, true)] {
                    ping_pong(version, qos, way, Conduct::default(), blocking).await;
                }
            }
        }
    });
}

/// The worst broker: it reads from nobody while one client is behind.
#[test]
fn sessions_that_feed_each_other_do_not_stop_behind_a_blocking_broker() {
    on_both_runtimes("feeding each other through a blocking broker", async || {
        for version in VERSIONS {
            for way in [Way::Own, Way::Others] {
                let conduct = Conduct { window: 1000, backlog: Some(4096) };
                ping_pong(version, QoS::AtLeastOnce, way, conduct, false).await;
            }
        }
    });
}

/// A handler that publishes on its own session waits for an acknowledgement behind all the messages that
/// its session has no room for.
#[test]
fn a_handler_publishes_on_a_session_that_is_flooded() {
    on_both_runtimes("a flooded handler", async || {
        for version in VERSIONS {
            for qos in LEVELS {
                flooded_handler(version, qos).await;
            }
        }
    });
}

async fn flooded_handler(version: Version, qos: QoS) {
    const MESSAGES: usize = 200;
    let broker = Broker::start(Conduct { window: 1000, backlog: None });
    let manager = SessionManager::new();
    let target = options("target", &broker, version).inbound_buffer(64 << 10).receive_maximum(1000);
    let target = manager.add_session(target.build().unwrap()).unwrap();
    let source = manager.add_session(options("source", &broker, version).build().unwrap()).unwrap();
    let (through, mut arrived) = unbounded_channel();
    let (gate, gated) = tokio::sync::watch::channel(false);
    let publisher = target.clone();
    let handler = move |message: Message| {
        let (publisher, through) = (publisher.clone(), through.clone());
        let mut gated = gated.clone();
        async move {
            gated.wait_for(|open| *open).await.unwrap();
            publisher.publish("out", "seen", QoS::AtLeastOnce, false).await.unwrap();
            let text = message.payload_str().unwrap();
            let _ = through.send(text.split_once(' ').unwrap().0.parse::<usize>().unwrap());
        }
    };
    let route = target.route("in").qos(qos).capacity(1).handle_async(handler).unwrap();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    for i in 0..MESSAGES {
        let message = Publish::new("in", padded(&i.to_string(), 0)).qos(qos);
        drop(source.enqueue(message).await.unwrap());
    }
    source.flush(LONG).await.unwrap();
    gate.send_replace(true);
    if qos == QoS::AtMostOnce {
        let counted = || {
            let stats = route.stats();
            stats.handled + stats.dropped
        };
        while counted() < MESSAGES as u64 {
            tokio::task::yield_now().await;
        }
        let dropped = target.metrics().dropped.of(DropReason::InboundFull);
        assert_eq!((route.stats().received, counted()), (MESSAGES as u64, MESSAGES as u64));
        assert_eq!(route.stats().dropped, dropped, "the session counts what the route does");
    } else {
        let mut seen = vec![0; MESSAGES];
        while seen.contains(&0) {
            seen[arrived.recv().await.unwrap()] += 1;
        }
        target.settle(LONG).await.unwrap();
        broker.until("acknowledgements", |b| b.unacknowledged_by("target") == 0).await;
        assert!(seen.iter().all(|count| *count == 1), "{version} {qos:?}: {seen:?}");
    }
    assert!(manager.shutdown(LONG).await.clean, "{version} {qos:?}");
}

/// Handlers that do not wait: what does not fit is refused, what arrives is handled or counted.
#[test]
fn sessions_that_feed_each_other_at_qos_0_account_for_every_message() {
    on_both_runtimes("feeding each other at QoS 0", async || {
        for version in VERSIONS {
            for overflow in [Overflow::DropNewest, Overflow::Block] {
                accounts(version, overflow).await;
            }
        }
    });
}

async fn accounts(version: Version, overflow: Overflow) {
    const MESSAGES: u32 = 60;
    let broker = Broker::start(Conduct::default());
    let manager = SessionManager::new();
    let [a, b] = ["a", "b"]
        .map(|name| manager.add_session(tight(name, &broker, version).build().unwrap()).unwrap());
    let source = manager.add_session(options("source", &broker, version).build().unwrap()).unwrap();
    let accepted: [Arc<AtomicUsize>; 2] = Default::default();
    let feed = |from: &Session,
                filter: &str,
                to: &Session,
                topic: &'static str,
                count: &Arc<AtomicUsize>| {
        let (to, count) = (to.clone(), Arc::clone(count));
        let handler = move |message: Message| {
            if let Ok(next) = next(message.payload(), topic, QoS::AtMostOnce) {
                match to.try_publish(next) {
                    Ok(_) => drop(count.fetch_add(1, SeqCst)),
                    Err(full) => assert_eq!(full.error().kind(), ErrorKind::Full),
                }
            }
            tokio::task::yield_now()
        };
        let route = from.route(filter).qos(QoS::AtMostOnce).capacity(1).overflow(overflow);
        route.handle_async(handler).unwrap()
    };
    let ping = feed(&a, "ping", &b, "pong", &accepted[0]);
    let pong = feed(&b, "pong", &a, "ping", &accepted[1]);
    manager.wait_for_all_sessions(LONG).await.unwrap();
    for i in 0..MESSAGES {
        drop(source.enqueue(Publish::new("ping", padded(&i.to_string(), 30))).await.unwrap());
    }
    source.flush(LONG).await.unwrap();
    let settled = |route: &Route, topic: &str, published: usize| {
        let (stats, delivered) = (route.stats(), broker.delivered(topic) as u64);
        broker.published(topic) == published
            && stats.received == delivered
            && stats.handled + stats.dropped == delivered
    };
    // Nothing more comes once every message is in one of its two ends.
    loop {
        let [pongs, pings] = [0, 1].map(|i| accepted[i].load(SeqCst));
        if settled(&ping, "ping", pings + MESSAGES as usize) && settled(&pong, "pong", pongs) {
            break;
        }
        tokio::task::yield_now().await;
    }
    for (session, route) in [(&a, &ping), (&b, &pong)] {
        let dropped = session.metrics().dropped;
        assert_eq!(dropped.total(), route.stats().dropped, "{version} {overflow:?}");
    }
    assert!(manager.shutdown(LONG).await.clean);
}

#[test]
fn what_is_dropped_at_qos_0_is_counted_exactly() {
    on_both_runtimes("dropping", async || {
        for version in VERSIONS {
            for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Block] {
                exact_drops(version, overflow).await;
            }
        }
    });
}

async fn exact_drops(version: Version, overflow: Overflow) {
    const MESSAGES: u64 = 300;
    let broker = Broker::start(Conduct::default());
    let manager = SessionManager::new();
    let [a, b, source] = ["a", "b", "source"]
        .map(|name| manager.add_session(options(name, &broker, version).build().unwrap()).unwrap());
    let other = b.clone();
    let forward = move |message: &MessageRef<'_>| {
        let copy = Publish::new("pong", message.payload().to_vec());
        drop(other.try_publish(copy).unwrap());
    };
    let first = a.route("ping").qos(QoS::AtMostOnce).inline(forward).unwrap();
    let slow = b.route("pong").qos(QoS::AtMostOnce).capacity(1).overflow(overflow);
    let slow = slow.handle_async(|_| tokio::task::yield_now()).unwrap();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    for i in 0..MESSAGES {
        drop(source.enqueue(Publish::new("ping", padded(&i.to_string(), 0))).await.unwrap());
    }
    broker.until("all messages", |b| b.published("pong") == MESSAGES as usize).await;
    let done = || {
        let stats = slow.stats();
        stats.received == MESSAGES && stats.handled + stats.dropped == MESSAGES
    };
    while !done() {
        tokio::task::yield_now().await;
    }
    assert_eq!(first.stats().handled, MESSAGES);
    let counted = b.metrics().dropped;
    assert_eq!(counted.of(DropReason::RouteFull), slow.stats().dropped, "{overflow:?}");
    if overflow == Overflow::Block {
        assert_eq!(slow.stats().handled, MESSAGES, "a few hundred kilobytes have room");
    }
    manager.shutdown(LONG).await;
}
