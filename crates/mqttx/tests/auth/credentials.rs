//! Credentials that are asked for at every attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqttx::auth::{Attempt, AuthFuture, Credentials, CredentialsProvider};
use mqttx::{Error, ErrorKind, EventKind, SessionStatus};
use mqttx_test::{ScriptedBroker, TempDir};

use super::{ACCEPTED, SOON, add, options};

/// Does at each attempt what the list says.
#[derive(Clone)]
struct Listed(Arc<AtomicUsize>, &'static [&'static str]);

impl CredentialsProvider for Listed {
    fn credentials<'a>(&'a self, attempt: &'a Attempt) -> AuthFuture<'a, Credentials> {
        Box::pin(async move {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            assert!(attempt.broker.starts_with("mqtt://127.0.0.1:"), "{}", attempt.broker);
            match *self.1.get(n).expect("another attempt") {
                "panic" => panic!("asked to"),
                "wait" => std::future::pending().await,
                "fail" => Err(Error::authentication("the vault is closed")),
                "never" => Err(Error::bad_authentication("the account is gone")),
                "token" => Ok(Credentials::token("tok")),
                password => Ok(Credentials::new("provided", password)),
            }
        })
    }
}

fn listed(what: &'static [&'static str]) -> Listed {
    Listed(Arc::default(), what)
}

#[tokio::test]
async fn the_provider_is_asked_at_every_attempt() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).username("plain").credentials(listed(&["one", "two", "token"]));
    let (_manager, session) = add(builder);
    for user in ["<provided> <one>", "<provided> <two>", "<plain> <tok>"] {
        let mut peer = broker.accept().await;
        peer.expect(&format!("10 {{ <MQTT> 05 c2 003c {{}} <c> {user} }}")).await;
        peer.send(ACCEPTED).await;
        session.wait_connected(SOON).await.expect("connected");
        peer.close().await;
        while session.is_connected() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_or_is_late_costs_an_attempt() {
    let broker = ScriptedBroker::start().await;
    let provider = listed(&["fail", "wait", "pw"]);
    let builder = options(&broker).connect_timeout(Duration::from_secs(9));
    let (manager, session) = add(builder.credentials(provider).manual_connect(true));
    let mut events = manager.events();
    // Nothing is connected before the third attempt: until then the clock may jump.
    tokio::time::pause();
    session.connect();
    let mut errors = Vec::new();
    while errors.len() < 2 {
        if let EventKind::SessionDisconnected { error: Some(error), .. } =
            &events.next().await.expect("an event").kind
        {
            errors.push(error.message().to_owned());
        }
    }
    tokio::time::resume();
    assert_eq!(errors, ["the vault is closed", "no credentials after 9000 ms"]);
    let mut peer = broker.accept().await;
    peer.expect("10 { <MQTT> 05 c2 003c {} <c> <provided> <pw> }").await;
    peer.send(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
    assert_eq!(session.metrics().errors, 2);
}

#[tokio::test]
async fn credentials_that_will_not_come_count_as_bad_ones() {
    let broker = ScriptedBroker::start().await;
    for what in [&["never"][..], &["panic"]] {
        let (_manager, session) = add(options(&broker).credentials(listed(what)));
        let error = session.wait_connected(SOON).await.expect_err("no credentials");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Authentication, false));
        assert_eq!(session.status(), SessionStatus::Failed);
    }
}

#[tokio::test]
async fn a_password_file_is_read_at_every_attempt() {
    let directory = TempDir::new("password");
    let path = directory.path().join("password");
    std::fs::write(&path, "one\n\n").expect("a file");
    let broker = ScriptedBroker::start().await;
    let (manager, session) = add(options(&broker).username("u").password_file(&path));
    let mut events = manager.events();
    for (next, password) in [("two\r\n", "0004 'one' 0a"), ("", "<two>")] {
        let mut peer = broker.accept().await;
        peer.expect(&format!("10 {{ <MQTT> 05 c2 003c {{}} <c> <u> {password} }}")).await;
        peer.send(ACCEPTED).await;
        session.wait_connected(SOON).await.expect("connected");
        if next.is_empty() {
            std::fs::remove_file(&path).expect("a file");
        } else {
            std::fs::write(&path, next).expect("a file");
        }
        peer.close().await;
        while session.is_connected() {
            tokio::task::yield_now().await;
        }
    }
    // Now it cannot be read: an attempt fails, and says why.
    let error = loop {
        if let EventKind::SessionDisconnected { error: Some(error), .. } =
            &events.next().await.expect("an event").kind
            && error.kind() == ErrorKind::Authentication
        {
            break error.clone();
        }
    };
    assert!(error.to_string().contains("cannot be read") && error.is_temporary(), "{error}");
    assert!(error.to_string().contains(path.to_str().expect("text")), "{error}");
    std::fs::write(&path, "three").expect("a file");
    let mut peer = broker.accept().await;
    peer.expect("10 { <MQTT> 05 c2 003c {} <c> <u> <three> }").await;
}
