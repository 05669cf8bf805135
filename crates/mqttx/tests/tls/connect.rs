//! Connections that come up, and what was agreed on.

use std::time::{Duration, SystemTime};

use mqttx::{EventKind, EventName, QoS, SessionOptions, TlsOptions, TlsVersion};
use mqttx_test::{Pki, TlsFront};

use crate::support::{CONNACK, PATIENCE, Site, event, options, start};

#[tokio::test]
async fn message_is_published_and_acknowledged() {
    let site = Site::new().await;
    let front = site.front().await;
    let (_manager, session) = start(options(&front.url(), site.trust()));
    let (mut peer, _) = site.broker.accept_and_answer(CONNACK).await;
    let sending = session.publish("a/b", "21.5", QoS::AtLeastOnce, false);
    let answering = async {
        peer.expect("32 { <a/b> 00 01 {} '21.5' }").await;
        peer.send("40 { 00 01 00 {} }").await;
    };
    let (sent, ()) = tokio::join!(sending, answering);
    sent.expect("acknowledged");
    let seen = front.handshakes();
    assert_eq!((seen[0].client.as_ref(), seen[0].is_1_3), (None, true));
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let site = Site::new().await;
    let front = site.front().await;
    let (_manager, session) = start(options(&front.url(), site.trust()));
    let (mut peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    let mut stream = session.listen("big").expect("a route");
    let subscribe = peer.expect_type(0x82).await;
    peer.send(&suback(&subscribe)).await;
    let payload: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let mut packet = vec![0x30];
    packet.extend(variable(2 + 3 + 1 + payload.len()));
    packet.extend([0, 3, b'b', b'i', b'g', 0]);
    packet.extend(&payload);
    let sending = session.publish("big", payload.clone(), QoS::AtMostOnce, false);
    let (sent, got) = tokio::join!(sending, peer.recv_packet());
    sent.expect("written");
    assert!(got == packet, "{} bytes, expected {}", got.len(), packet.len());
    peer.send_bytes(&packet).await;
    let message = tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time");
    assert!(message.expect("a message").payload() == payload);
}

/// The answer to a SUBSCRIBE, whose packet id follows a length of one byte.
fn suback(subscribe: &[u8]) -> String {
    format!("90 {{ {:02x} {:02x} {{}} 00 }}", subscribe[2], subscribe[3])
}

/// A variable byte integer.
fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = if value > 127 { 0x80 } else { 0 };
        bytes.push((value % 128) as u8 | more);
        value /= 128;
        if value == 0 {
            return bytes;
        }
    }
}

#[tokio::test]
async fn client_certificate_is_shown() {
    let site = Site::new().await;
    let front = site.front_that_asks().await;
    let client = site.pki.client("gw-1");
    let tls = site.trust().client_certificate(client.cert.into_bytes(), client.key.into_bytes());
    let (_manager, session) = start(options(&front.url(), tls));
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    assert!(front.handshakes()[0].client.is_some());
    let metrics = session.metrics();
    let in_days = |time: Option<SystemTime>| {
        time.expect("known").duration_since(SystemTime::now()).expect("later").as_secs() / 86_400
    };
    assert_eq!(in_days(metrics.client_certificate_not_after), 299);
    assert_eq!(in_days(metrics.server_certificate_not_after), 299);
}

#[tokio::test]
async fn version_protocol_and_name_are_those_that_are_asked_for() {
    let site = Site::new().await;
    let server = site.pki.server(&["plant.example"]);
    let builder = TlsFront::builder(&server).alpn("mqtt");
    let front = builder.start(site.broker.address()).await;
    let tls = site
        .trust()
        .sni("plant.example")
        .alpn(["mqtt"])
        .versions([TlsVersion::V1_2])
        .cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"])
        .key_exchange(["secp256r1"]);
    let (_manager, session) = start(options(&front.url(), tls));
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    let seen = &front.handshakes()[0];
    assert_eq!((seen.sni.as_deref(), seen.alpn.as_deref()), (Some("plant.example"), Some("mqtt")));
    assert!(!seen.is_1_3);
}

#[tokio::test]
async fn sessions_of_a_manager_are_known_again_by_the_server() {
    let site = Site::new().await;
    let front = site.front().await;
    let (manager, one) = start(options(&front.url(), site.trust()));
    let (mut peer, _) = site.broker.accept_and_answer(CONNACK).await;
    one.wait_ready(PATIENCE).await.expect("ready");
    // The tickets come before this packet.
    let mut stream = one.listen("t").expect("a route");
    let subscribe = peer.expect_type(0x82).await;
    peer.send(&suback(&subscribe)).await;
    peer.send("30 { <t> {} 'x' }").await;
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("in time");
    let other = SessionOptions::quick_connect("other", front.url()).tls(site.trust());
    let other = manager.add_session(other.build().expect("valid")).expect("a session");
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    other.wait_ready(PATIENCE).await.expect("ready");
    let resumed: Vec<_> = front.handshakes().iter().map(|handshake| handshake.resumed).collect();
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn certificate_that_was_given_itself_is_trusted() {
    let site = Site::new().await;
    let server = Pki::self_signed(&["127.0.0.1"]);
    let front = site.front_with(&server).await;
    let tls = TlsOptions::new().ca(server.cert.into_bytes());
    let (_manager, session) = start(options(&front.url(), tls));
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
}

#[tokio::test]
async fn unchecked_certificates_are_told_at_each_connection() {
    let site = Site::new().await;
    let (before, after) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    let front = site.front_with(&Pki::new("other").issue("x", &["elsewhere"], before, after)).await;
    let tls = TlsOptions::new().danger_accept_invalid_certs(true);
    let manager = mqttx::SessionManager::new();
    let mut events = manager.events();
    let built = options(&front.url(), tls).build().expect("valid");
    let session = manager.add_session(built).expect("a session");
    for _ in 0..2 {
        let (peer, _) = site.broker.accept_and_answer(CONNACK).await;
        let told = event(&mut events, EventName::TlsUnverified).await;
        assert_eq!(told.session.as_deref(), Some("s"));
        session.wait_ready(PATIENCE).await.expect("ready");
        session.reconnect();
        peer.close().await;
    }
}

#[tokio::test]
async fn address_without_a_scheme_means_tls_when_there_are_options_for_it() {
    let site = Site::new().await;
    let front = site.front().await;
    let ca = site.file("ca.pem", site.pki.ca());
    let bare = front.address().to_string();
    let (_manager, session) = start(SessionOptions::secure_connect("s", bare, ca));
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    assert_eq!(front.handshakes().len(), 1);
    assert_eq!(session.broker(), front.url());
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn websocket_runs_over_tls() {
    let site = Site::new().await;
    let socket = mqttx_test::WebSocketFront::start(site.broker.address()).await;
    let front = TlsFront::builder(&site.server()).start(socket.address()).await;
    let url = front.url().replace("mqtts://", "wss://") + "/mqtt";
    let (_manager, session) = start(options(&url, site.trust()));
    let (mut peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.publish("a/b", "x", QoS::AtMostOnce, false).await.expect("written");
    peer.expect("30 { <a/b> {} 'x' }").await;
}

#[tokio::test]
async fn proxy_passes_tls_on_unread() {
    let site = Site::new().await;
    let front = site.front().await;
    let proxy = mqttx_test::HttpProxy::start(None).await;
    let through: mqttx::Proxy = proxy.url().parse().expect("a proxy");
    let (_manager, session) = start(options(&front.url(), site.trust()).proxy(through));
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    assert_eq!((proxy.asked().len(), front.handshakes().len()), (1, 1));
}

#[tokio::test]
async fn redirect_of_an_encrypted_session_stays_encrypted() {
    let site = Site::new().await;
    let (front, other) = (site.front().await, site.front().await);
    let (_manager, session) = start(options(&front.url(), site.trust()));
    let address = other.address().to_string();
    let moved = format!("20 {{ 00 9c {{ 1c <{address}> }} }}");
    let (_refused, _) = site.broker.accept_and_answer(&moved).await;
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    session.wait_ready(PATIENCE).await.expect("ready");
    assert_eq!(other.handshakes().len(), 1);
}

#[tokio::test]
async fn end_of_a_certificate_is_told_ahead_of_time() {
    let site = Site::new().await;
    let now = SystemTime::now();
    let soon = now + Duration::from_secs(12 * 3600);
    let server = site.pki.issue("server", &["127.0.0.1"], now - Duration::from_secs(60), soon);
    let front = site.front_with(&server).await;
    let manager = mqttx::SessionManager::new();
    let mut events = manager.events();
    let built = options(&front.url(), site.trust()).build().expect("valid");
    let session = manager.add_session(built).expect("a session");
    let (_peer, _) = site.broker.accept_and_answer(CONNACK).await;
    let told = event(&mut events, EventName::CertificateExpires).await;
    let EventKind::CertificateExpires { certificate, remaining, .. } = &told.kind else {
        panic!("{told:?}")
    };
    assert!(certificate.contains(&front.address().to_string()), "{certificate}");
    assert!(remaining.as_secs() / 3600 == 11, "{remaining:?}");
    session.wait_ready(PATIENCE).await.expect("ready");
}
