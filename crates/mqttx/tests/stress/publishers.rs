//! More publishers of one session than may pause at a time, with a small window and a small outbox: they wait for acknowledgements,
//! for room, and some give up while they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqttx::{Outbox, Publish, QoS, Session, SessionManager, SessionOptions};
use mqttx_test::{LoadOptions, LoadPeer, ScriptedBroker};
use tokio::task::JoinSet;

use super::{LONG, on_both_runtimes};

const TASKS: u64 = 1500;

async fn session(manager: &SessionManager, url: &str, messages: usize) -> Session {
    let outbox = Outbox { messages: Some(messages), ..Outbox::default() };
    let options = SessionOptions::quick_connect("s", url).outbox(outbox);
    manager.add_session(options.build().expect("valid")).expect("a session")
}

fn message(n: u64) -> Publish {
    let qos = [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce];
    Publish::new("t", "x").qos(qos[n as usize % qos.len()])
}

#[test]
fn publishers_that_give_up_keep_nobody_from_publishing() {
    on_both_runtimes("publishers", async || {
        let narrow = LoadOptions { receive_maximum: Some(20), flood: None };
        let peer = LoadPeer::start(narrow);
        let manager = SessionManager::new();
        let session = session(&manager, &peer.url(), 400).await;
        session.wait_ready(LONG).await.expect("ready");
        let (accepted, tried) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (session, accepted, tried) = (session.clone(), accepted.clone(), tried.clone());
            tasks.spawn(async move {
                for n in 0..20 {
                    tried.fetch_add(1, Ordering::Relaxed);
                    let submitting = session.submit(message(task + n));
                    let patience = async {
                        // Every third task has none.
                        for _ in 0..(task + n) % 7 {
                            tokio::task::yield_now().await;
                        }
                        if task % 3 > 0 {
                            std::future::pending::<()>().await;
                        }
                    };
                    tokio::select! {
                        biased;
                        outcome = submitting => {
                            outcome.expect("accepted");
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        () = patience => {}
                    }
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("no panic");
        }
        session.flush(LONG).await.expect("all are acknowledged");
        let (accepted, tried) = (accepted.load(Ordering::Relaxed), tried.load(Ordering::Relaxed));
        let arrived = peer.counters().publishes;
        assert!(accepted >= TASKS * 20 * 2 / 3 && tried == TASKS * 20, "{accepted} of {tried}");
        assert!((accepted..=tried).contains(&arrived), "{arrived}, not {accepted} to {tried}");
        assert_eq!(session.metrics().messages_sent, arrived);
    });
}

#[test]
fn nobody_waits_for_a_session_that_is_removed_while_its_server_is_silent() {
    on_both_runtimes("a silent server", async || {
        let broker = ScriptedBroker::start().await;
        let manager = SessionManager::new();
        let session = session(&manager, &broker.url(), 3000).await;
        // Two messages at a time, and no answer to any.
        let _silent = broker.accept_and_answer("20 { 00 00 { 21 0002 } }").await;
        session.wait_ready(LONG).await.expect("ready");
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let session = session.clone();
            tasks.spawn(async move {
                for n in 0.. {
                    let message = Publish::new("t", "x").qos(QoS::AtLeastOnce);
                    if session.submit(message).await.is_err() {
                        return n;
                    }
                }
                task
            });
        }
        while session.metrics().outbox_messages < 3000 {
            tokio::task::yield_now().await;
        }
        manager.remove_session("s").await.expect("removed");
        let mut accepted = 0;
        while let Some(task) = tasks.join_next().await {
            accepted += task.expect("no panic");
        }
        assert_eq!(accepted, 3000);
    });
}
