//! The steps of an exchange: order, number, time, and code that misbehaves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::auth::{Attempt, AuthFuture, Authenticator, Exchange, OauthBearer, Plain};
use mqttx::auth::{Credentials, FileCredentials};
use mqttx::{Error, ErrorKind, SessionStatus, Version};
use mqttx_test::{ScriptedBroker, TempDir};

use super::{ACCEPTED, SOON, add, options};

/// Answers what it is asked for, except what the test gave it to do.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    /// Whether each exchange was one on a connection that was there.
    pub(crate) begun: Arc<Mutex<Vec<bool>>>,
    /// It panics when it is asked how long it is valid.
    careless: bool,
}

impl Authenticator for Echo {
    fn method(&self) -> &str {
        "ECHO"
    }

    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange> {
        assert_eq!((attempt.client_id.as_str(), &*attempt.session), ("c", "s"));
        self.begun.lock().expect("free").push(attempt.again);
        Box::new(self.clone())
    }
}

impl Exchange for Echo {
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn respond<'a>(&'a mut self, challenge: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            match challenge {
                b"panic" => panic!("asked to"),
                b"careless" => {
                    self.careless = true;
                    Ok(None)
                }
                b"wait" => std::future::pending().await,
                b"fail" => Err(Error::authentication("asked to")),
                other => Ok(Some(other.to_vec())),
            }
        })
    }

    fn valid_for(&self) -> Option<Duration> {
        assert!(!self.careless, "asked to");
        None
    }
}

#[tokio::test]
async fn challenges_go_to_the_authenticator_and_its_answers_to_the_server() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session) = add(options(&broker).authenticator(Echo::default()));
    let mut peer = broker.accept().await;
    peer.expect("10 { <MQTT> 05 02 003c { 15 <ECHO> } <c> }").await;
    peer.send("f0 { 18 { 15 <ECHO> 16 <one> } }").await;
    peer.expect("f0 { 18 { 15 <ECHO> 16 <one> } }").await;
    peer.send_split("f0 { 18 { 15 <ECHO> } }").await;
    peer.expect("f0 { 18 { 15 <ECHO> 16 <> } }").await;
    assert_eq!(session.status(), SessionStatus::Connecting);
    peer.send("20 { 00 00 { 15 <ECHO> } }").await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn endless_challenges_are_left() {
    let broker = ScriptedBroker::start().await;
    let (_manager, _session) = add(options(&broker).authenticator(Echo::default()));
    let mut peer = broker.accept().await;
    peer.expect_type(0x10).await;
    for _ in 0..16 {
        peer.send("f0 { 18 { 15 <ECHO> 16 <more> } }").await;
        peer.expect("f0 { 18 { 15 <ECHO> 16 <more> } }").await;
    }
    peer.send("f0 { 18 { 15 <ECHO> 16 <more> } }").await;
    peer.expect("e0 { 97 }").await;
    peer.expect_closed().await;
}

#[tokio::test]
async fn the_connect_timeout_bounds_the_whole_exchange() {
    let broker = ScriptedBroker::start().await;
    let limit = Duration::from_secs(9);
    let builder = options(&broker).authenticator(Echo::default()).connect_timeout(limit);
    let (_manager, session) = add(builder.auto_reconnect(false));
    let mut peer = broker.accept().await;
    peer.expect_type(0x10).await;
    peer.send("f0 { 18 { 15 <ECHO> 16 <wait> } }").await;
    tokio::time::pause();
    peer.expect_closed().await;
    let error = session.wait_connected(SOON).await.expect_err("too late");
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test]
async fn an_authenticator_that_fails_ends_the_attempt() {
    for (challenge, tried_again) in [("fail", true), ("panic", false), ("careless", false)] {
        let broker = ScriptedBroker::start().await;
        let (_manager, session) = add(options(&broker).authenticator(Echo::default()));
        let mut peer = broker.accept().await;
        peer.expect_type(0x10).await;
        peer.send(&format!("f0 {{ 18 {{ 15 <ECHO> 16 <{challenge}> }} }}")).await;
        peer.expect("e0 { 80 }").await;
        drop(peer);
        if tried_again {
            broker.accept().await;
        } else {
            let error = session.wait_connected(SOON).await.expect_err("it panicked");
            assert_eq!(error.kind(), ErrorKind::Authentication);
            assert_eq!(session.status(), SessionStatus::Failed);
        }
    }
}

#[tokio::test]
async fn plain_and_oauthbearer_send_all_with_connect() {
    let broker = ScriptedBroker::start().await;
    let (_manager, plain) =
        add(options(&broker).authenticator(Plain::new(Credentials::new("user", "pencil"))));
    let mut peer = broker.accept().await;
    peer.expect("10 { <MQTT> 05 02 003c { 15 <PLAIN> 16 000c 00 'user' 00 'pencil' } <c> }").await;
    peer.send(ACCEPTED).await;
    plain.wait_connected(SOON).await.expect("a server may leave the method out");
    let directory = TempDir::new("token");
    let path = directory.path().join("token");
    std::fs::write(&path, "abc.def\n").expect("a file");
    let bearer = OauthBearer::new(FileCredentials::new(None, &path));
    let (_manager, session) = add(options(&broker).authenticator(bearer));
    let mut peer = broker.accept().await;
    peer.expect(
        "10 { <MQTT> 05 02 003c { 15 <OAUTHBEARER> 16 0019 'n,,' 01 'auth=Bearer abc.def' 01 01 } <c> }",
    )
    .await;
    // A token that is not taken: the reason, a dummy answer, the refusal.
    peer.send("f0 { 18 { 15 <OAUTHBEARER> 16 <invalid_token> } }").await;
    peer.expect("f0 { 18 { 15 <OAUTHBEARER> 16 0001 01 } }").await;
    peer.send("20 { 00 87 {} }").await;
    session.wait_connected(SOON).await.expect_err("refused");
}

#[tokio::test]
async fn another_method_or_none_that_was_asked_for_is_a_protocol_error() {
    for (authenticated, bytes) in [
        (true, "f0 { 18 { 15 <OTHER> } }"),
        (true, "20 { 00 00 { 15 <OTHER> } }"),
        (true, "f0 { 19 { 15 <ECHO> } }"),
        (true, "f0 00"),
        (false, "f0 { 18 { 15 <ECHO> } }"),
        (false, "20 { 00 00 { 15 <ECHO> } }"),
    ] {
        let broker = ScriptedBroker::start().await;
        let mut builder = options(&broker).auto_reconnect(false);
        if authenticated {
            builder = builder.authenticator(Echo::default());
        }
        let (_manager, session) = add(builder);
        let mut peer = broker.accept().await;
        peer.expect_type(0x10).await;
        peer.send(bytes).await;
        peer.expect("e0 { 82 }").await;
        peer.expect_closed().await;
        let error = session.wait_connected(SOON).await.expect_err("a fault");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{bytes}");
    }
}

#[tokio::test]
async fn auth_in_3_1_1_is_malformed_and_closes() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session) = add(options(&broker).protocol(Version::V311).auto_reconnect(false));
    let mut peer = broker.accept().await;
    peer.expect_type(0x10).await;
    peer.send("f0 00").await;
    peer.expect_closed().await;
    session.wait_connected(SOON).await.expect_err("a fault");
    let errors = options(&broker).protocol(Version::V311).authenticator(Echo::default()).build();
    let errors = errors.expect_err("3.1.1 has no AUTH");
    assert_eq!(errors.problems()[0].field, "authenticator");
}
