//! Connections that do not come up: each has one line that says what was wrong with what.

use std::time::{Duration, SystemTime};

use mqttx::{Publish, SessionOptions, TlsOptions, TlsVersion};
use mqttx_test::{Identity, Pki, ScriptedBroker, TlsFront};

use crate::support::{CONNACK, PATIENCE, Site, assert_told, options, refusal, start};

const DAY: Duration = Duration::from_secs(86_400);
const UNVERIFIED: &str = "connection.tls.unverified";

#[tokio::test]
async fn certificate_of_another_authority_is_not_believed() {
    let site = Site::new().await;
    let front = site.front().await;
    let ca = site.file("other.pem", Pki::new("other").ca());
    let error = refusal(options(&front.url(), TlsOptions::new().ca(ca))).await;
    assert_told(&error, UNVERIFIED, &["was not issued by an authority in", "other.pem"]);
    assert!(!error.is_temporary());
    let error = refusal(SessionOptions::quick_connect("s", front.url())).await;
    assert_told(&error, UNVERIFIED, &["an authority that the system trusts"]);
}

#[tokio::test]
async fn certificate_for_another_name_is_not_believed() {
    let site = Site::new().await;
    let front = site.front_with(&site.pki.server(&["plant.example"])).await;
    let error = refusal(options(&front.url(), site.trust())).await;
    assert_told(&error, UNVERIFIED, &["not for 127.0.0.1", "plant.example"]);
    let given = site.pki.server(&["plant.example"]);
    let front = site.front_with(&given).await;
    let tls = TlsOptions::new().ca(given.cert.into_bytes());
    let error = refusal(options(&front.url(), tls)).await;
    assert_told(&error, UNVERIFIED, &["not for 127.0.0.1", "plant.example"]);
}

/// It cannot have names. A tutorial's `openssl x509 -req` makes such ones.
#[tokio::test]
async fn certificate_of_version_1_is_told_as_that_and_taken_where_nothing_is_checked() {
    let site = Site::new().await;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let front = site.front_with(&Identity::version_1()).await;
        let tls = TlsOptions::new().versions([version]);
        let checked = tls.clone().ca(Identity::version_1().cert.into_bytes());
        let error = refusal(options(&front.url(), checked)).await;
        assert_told(&error, UNVERIFIED, &["X.509 version 1", "subjectAltName"]);
        let (_manager, session) =
            start(options(&front.url(), tls.danger_accept_invalid_certs(true)));
        let _peer = site.broker.accept_and_answer(CONNACK).await;
        session.wait_ready(PATIENCE).await.expect("connected");
    }
}

#[tokio::test]
async fn certificate_is_not_believed_before_and_after_its_time() {
    let site = Site::new().await;
    let now = SystemTime::now();
    let old = site.pki.issue("old", &["127.0.0.1"], now - 9 * DAY, now - DAY);
    let front = site.front_with(&old).await;
    let error = refusal(options(&front.url(), site.trust())).await;
    assert_told(&error, UNVERIFIED, &["expired at 2", "now it is 2"]);
    let early = site.pki.issue("early", &["127.0.0.1"], now + DAY, now + 9 * DAY);
    let front = site.front_with(&early).await;
    let error = refusal(options(&front.url(), site.trust())).await;
    assert_told(&error, UNVERIFIED, &["not valid before 2", "now it is 2"]);
}

#[tokio::test]
async fn server_that_wants_a_certificate_says_so_in_both_versions() {
    let site = Site::new().await;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let front = site.front_that_asks().await;
        let error = refusal(options(&front.url(), site.trust().versions([version]))).await;
        let code = match version {
            TlsVersion::V1_2 => "connection.tls.incompatible",
            _ => "connection.tls.client_certificate",
        };
        let code = if error.code() == code { code } else { "connection.tls.client_certificate" };
        assert_told(&error, code, &["the server wants a client certificate"]);
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn certificate_of_ours_that_the_server_refuses_is_named() {
    let site = Site::new().await;
    let front = site.front_that_asks().await;
    let stranger = Pki::new("other").client("gw");
    let (cert, key) = stranger.write(site.directory.path(), "stranger");
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let tls = site.trust().client_certificate(cert.clone(), key.clone()).versions([version]);
        let error = refusal(options(&front.url(), tls)).await;
        let parts = ["the server refused our certificate", "stranger.pem", "unknown_ca"];
        assert_told(&error, "connection.tls.client_certificate", &parts);
    }
}

#[tokio::test]
async fn versions_without_one_in_common_are_told() {
    let site = Site::new().await;
    let front = TlsFront::builder(&site.server()).only_1_2().start(site.broker.address()).await;
    let error = refusal(options(&front.url(), site.trust().versions([TlsVersion::V1_3]))).await;
    assert_told(&error, "connection.tls.incompatible", &["none of our versions of TLS"]);
}

#[tokio::test]
async fn protocols_without_one_in_common_are_told() {
    let site = Site::new().await;
    let front = TlsFront::builder(&site.server()).alpn("h2").start(site.broker.address()).await;
    let error = refusal(options(&front.url(), site.trust().alpn(["mqtt"]))).await;
    assert_told(&error, "connection.tls.incompatible", &["none of the protocols of alpn: mqtt"]);
}

#[tokio::test]
async fn server_that_closes_instead_of_answering_is_told() {
    let site = Site::new().await;
    let front = site.front().await;
    let closing = async { site.broker.accept().await.close().await };
    let attempt = options(&front.url(), site.trust()).auto_reconnect(false);
    let (error, ()) = tokio::join!(refusal(attempt), closing);
    assert_told(&error, "connection.failed", &["instead of answering CONNECT", "certificate"]);
}

#[tokio::test]
async fn plain_connection_to_a_server_with_tls_is_told() {
    let site = Site::new().await;
    let front = site.front().await;
    let plain = format!("mqtt://{}", front.address());
    let error = refusal(SessionOptions::quick_connect("s", plain)).await;
    assert_told(&error, "connection.tls.expected", &["speaks TLS at this port: use mqtts://"]);
}

#[tokio::test]
async fn server_that_answers_in_plain_is_told() {
    let broker = ScriptedBroker::start().await;
    let url = format!("mqtts://{}", broker.address());
    let answer = async {
        let mut peer = broker.accept().await;
        peer.send("20 { 00 00 00 }").await;
        peer
    };
    let (error, _peer) = tokio::join!(refusal(options(&url, TlsOptions::new())), answer);
    assert_told(&error, "connection.tls.incompatible", &["does not answer in TLS", "plain MQTT"]);
}

#[tokio::test]
async fn refusal_for_good_is_tried_again_where_the_options_say_so() {
    let site = Site::new().await;
    let front = site.front().await;
    let backoff = mqttx::Backoff::new(Duration::from_millis(5), Duration::from_millis(10));
    let wrong = TlsOptions::new().ca(Pki::new("other").ca().into_bytes());
    let retrying =
        options(&front.url(), wrong).on_refusal(mqttx::OnRefusal::Retry).reconnect(backoff);
    let manager = mqttx::SessionManager::new();
    let mut events = manager.events();
    let session = manager.add_session(retrying.build().expect("valid")).expect("a session");
    for _ in 0..3 {
        crate::support::event(&mut events, mqttx::EventName::SessionReconnecting).await;
    }
    assert!(session.try_publish(Publish::new("t", "x")).is_ok(), "it goes on");
}
