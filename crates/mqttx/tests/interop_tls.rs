//! TLS with a real Mosquitto.
#![cfg(feature = "tls")]

use std::time::Duration;

use mqttx::{
    Backoff, MessageStream, QoS, Session, SessionBuilder, SessionManager, SessionOptions,
    TlsOptions, TlsVersion, Version,
};
use mqttx_test::{Identity, Mosquitto, Pki};

const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    pki: Pki,
    broker: Mosquitto,
    client: Identity,
}

impl Site {
    /// A Mosquitto whose second listener speaks TLS; with `asks`, clients must show a certificate.
    async fn start(asks: bool) -> Option<Self> {
        let pki = Pki::new("plant authority");
        let server = pki.server(&["127.0.0.1", "localhost"]);
        let builder = Mosquitto::builder().persistence(true).tls(&pki, &server, asks);
        let broker = builder.start().await?;
        let client = pki.client("gw");
        Some(Self { pki, broker, client })
    }

    fn trust(&self) -> TlsOptions {
        TlsOptions::new().ca(self.pki.ca().into_bytes())
    }

    fn with_certificate(&self) -> TlsOptions {
        let Identity { cert, key } = self.client.clone();
        self.trust().client_certificate(cert.into_bytes(), key.into_bytes())
    }

    fn options(&self, name: &str, tls: TlsOptions) -> SessionBuilder {
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        SessionOptions::quick_connect(name, self.broker.tls_url()).tls(tls).reconnect(backoff)
    }
}

async fn ready(options: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::new();
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    session.wait_ready(PATIENCE).await.expect("ready");
    (manager, session)
}

async fn refusal(options: SessionBuilder) -> mqttx::Error {
    let manager = SessionManager::new();
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    session.wait_ready(PATIENCE).await.expect_err("no connection");
    session.last_error().expect("the reason")
}

async fn next(stream: &mut MessageStream) -> mqttx::Message {
    let message = tokio::time::timeout(PATIENCE, stream.next()).await;
    message.expect("in time").expect("a message")
}

#[tokio::test]
async fn messages_of_every_qos_and_size_pass_in_both_versions() {
    let Some(site) = Site::start(true).await else { return };
    for (mqtt, tls) in [
        (Version::V5, TlsVersion::V1_3),
        (Version::V311, TlsVersion::V1_3),
        (Version::V5, TlsVersion::V1_2),
        (Version::V311, TlsVersion::V1_2),
    ] {
        let options = site.options("all", site.with_certificate().versions([tls])).protocol(mqtt);
        let (manager, session) = ready(options).await;
        let mut stream = session.listen("big/#").expect("a route");
        session.wait_ready(PATIENCE).await.expect("subscribed");
        for (qos, size) in [
            (QoS::AtMostOnce, 0),
            (QoS::AtLeastOnce, 16_384),
            (QoS::ExactlyOnce, 100),
            (QoS::AtLeastOnce, 1 << 20),
            (QoS::ExactlyOnce, 3 << 20),
        ] {
            let payload: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
            session.publish("big/one", payload.clone(), qos, false).await.expect("published");
            let got = next(&mut stream).await;
            assert!(got.payload() == payload, "{mqtt:?} {tls:?} {qos:?} {size}");
        }
        drop(stream);
        manager.shutdown(PATIENCE).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_is_killed_again_and_again() {
    const MESSAGES: usize = 300;
    let Some(mut site) = Site::start(true).await else { return };
    let options = site.options("gw", site.with_certificate()).client_id("gw").persistent(true);
    let (_manager, session) = ready(options).await;
    let mut stream = session.listen("n/#").expect("a route");
    session.wait_ready(PATIENCE).await.expect("subscribed");
    let mut seen = vec![0_u32; MESSAGES];
    let mut deliveries = Vec::new();
    for n in 0..MESSAGES {
        let message = mqttx::Publish::new("n/x", n.to_string()).qos(QoS::AtLeastOnce);
        deliveries.push(session.enqueue(message).await.expect("room"));
        if n % 100 == 50 {
            // As by a service manager: what it acknowledged is on its disk.
            site.broker.stop().await;
            site.broker.restart().await;
            session.wait_ready(PATIENCE).await.expect("ready again");
        }
    }
    for delivery in deliveries {
        delivery.await.expect("acknowledged");
    }
    while seen.contains(&0) {
        let message = next(&mut stream).await;
        let number: usize = message.payload_str().expect("text").parse().expect("a number");
        seen[number] += 1;
    }
    assert!(session.metrics().reconnects >= 3);
}

#[tokio::test]
async fn each_refusal_of_mosquitto_has_its_line() {
    let Some(site) = Site::start(true).await else { return };
    let code = "connection.tls.client_certificate";
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let error = refusal(site.options("s", site.trust().versions([version]))).await;
        let text = error.to_string();
        assert!(
            text.contains("the server wants a client certificate")
                || text.contains("it wants a client certificate"),
            "{text}"
        );
        assert!(!error.is_temporary(), "{text}");
        let stranger = Pki::new("other").client("gw");
        let tls = site
            .trust()
            .client_certificate(stranger.cert.into_bytes(), stranger.key.into_bytes())
            .versions([version]);
        let error = refusal(site.options("s", tls)).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains("the server refused our certificate"), "{error}");
    }
    let tls = TlsOptions::new().ca(Pki::new("other").ca().into_bytes());
    let error = refusal(site.options("s", tls)).await;
    assert_eq!(error.code(), "connection.tls.unverified", "{error}");
}

#[tokio::test]
async fn plain_and_encrypted_ports_that_are_mixed_up_are_told() {
    let Some(site) = Site::start(false).await else { return };
    let tls_to_plain = site.broker.url().replace("mqtt://", "mqtts://");
    let options = SessionOptions::quick_connect("s", tls_to_plain).auto_reconnect(false);
    let error = refusal(options).await;
    assert!(error.to_string().contains("speak"), "{error}");
    let plain_to_tls = site.broker.tls_url().replace("mqtts://", "mqtt://");
    let options = SessionOptions::quick_connect("s", plain_to_tls).auto_reconnect(false);
    let error = refusal(options).await;
    assert!(error.to_string().contains("does it want TLS"), "{error}");
}

#[tokio::test]
async fn mosquitto_knows_the_user_by_the_certificate() {
    let Some(site) = Site::start(true).await else { return };
    let (_manager, session) = ready(site.options("s", site.with_certificate())).await;
    session.publish("a", "x", QoS::AtLeastOnce, false).await.expect("published");
    assert!(site.broker.log().contains("u'gw'"), "{}", site.broker.log());
}
