//! Certificates that change while sessions run.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use mqttx::{EventName, Publish, QoS, SessionManager};
use mqttx_test::{Identity, ScriptedBroker};

use crate::support::{CONNACK, PATIENCE, Site, broken, event, options};

/// Puts a file in the place of another at once, as those do that renew certificates.
fn replace(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).expect("a file");
    std::fs::rename(next, path).expect("renamed");
}

fn der_of(identity: &Identity) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let cert = rustls::pki_types::CertificateDer::from_pem_slice(identity.cert.as_bytes());
    cert.expect("a certificate").to_vec()
}

/// Accepts connections and answers, until it is dropped.
async fn serve(broker: &ScriptedBroker) {
    let mut peers = Vec::new();
    loop {
        let (peer, _) = broker.accept_and_answer(CONNACK).await;
        peers.push(peer);
    }
}

#[tokio::test]
async fn new_connections_show_the_changed_certificate() {
    let site = Site::new().await;
    let front = site.front_that_asks().await;
    let (first, second) = (site.pki.client("one"), site.pki.client("two"));
    let (cert, key) = first.write(site.directory.path(), "gw");
    let tls = site.trust().client_certificate(cert.clone(), key.clone()).reload(true);
    let manager = SessionManager::new();
    let mut events = manager.events();
    let built = options(&front.url(), tls).build().expect("valid");
    let session = manager.add_session(built).expect("a session");
    let claim = async {
        session.wait_ready(PATIENCE).await.expect("ready");
        replace(&cert, &second.cert);
        let failed = broken(&*event(&mut events, EventName::TlsReloadFailed).await);
        assert!(failed.contains("not the key of the certificate"), "{failed}");
        session.reconnect();
        event(&mut events, EventName::SessionReady).await;
        replace(&key, &second.key);
        event(&mut events, EventName::TlsReloaded).await;
        assert!(session.is_connected(), "the connection stays");
        session.reconnect();
        event(&mut events, EventName::SessionReady).await;
    };
    tokio::select! {
        () = claim => {}
        () = serve(&site.broker) => unreachable!(),
    }
    let seen: Vec<_> = front.handshakes().into_iter().filter_map(|h| h.client).collect();
    let expected = [der_of(&first), der_of(&first), der_of(&second)];
    assert_eq!(seen.len(), expected.len());
    assert!(seen == expected);
}

#[tokio::test]
async fn mounted_secret_of_kubernetes_is_followed() {
    let site = Site::new().await;
    let mount = site.directory.path().join("mount");
    let version = |name: &str, identity: &Identity| {
        let directory = mount.join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("tls.crt"), &identity.cert).expect("a file");
        std::fs::write(directory.join("tls.key"), &identity.key).expect("a file");
    };
    version("..v1", &site.pki.client("one"));
    symlink("..v1", mount.join("..data")).expect("a link");
    symlink("..data/tls.crt", mount.join("tls.crt")).expect("a link");
    symlink("..data/tls.key", mount.join("tls.key")).expect("a link");
    let tls = site.trust().client_certificate(mount.join("tls.crt"), mount.join("tls.key"));
    let manager = SessionManager::new();
    let mut events = manager.events();
    let built = options("mqtts://127.0.0.1:1", tls.reload(true)).manual_connect(true);
    manager.add_session(built.build().expect("valid")).expect("a session");
    let mut fastest = Duration::MAX;
    for turn in 2..5 {
        let name = format!("..v{turn}");
        version(&name, &site.pki.client("next"));
        symlink(&name, mount.join("..data_tmp")).expect("a link");
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("renamed");
        let started = std::time::Instant::now();
        event(&mut events, EventName::TlsReloaded).await;
        fastest = fastest.min(started.elapsed());
        std::fs::remove_dir_all(mount.join(format!("..v{}", turn - 1))).expect("removed");
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[tokio::test]
async fn files_are_read_again_when_asked() {
    let site = Site::new().await;
    let ca = site.file("ca.pem", site.pki.ca());
    let tls = mqttx::TlsOptions::new().ca(ca.clone());
    let manager = SessionManager::new();
    let mut events = manager.events();
    manager.reload_tls().expect("there is nothing yet");
    let built = options("mqtts://127.0.0.1:1", tls).manual_connect(true).build().expect("valid");
    manager.add_session(built).expect("a session");
    std::fs::write(&ca, mqttx_test::Pki::new("next").ca()).expect("a file");
    manager.reload_tls().expect("taken");
    event(&mut events, EventName::TlsReloaded).await;
    std::fs::write(&ca, "nothing").expect("a file");
    let error = manager.reload_tls().expect_err("broken");
    assert!(error.to_string().contains("ca.pem"), "{error}");
    event(&mut events, EventName::TlsReloadFailed).await;
}

#[tokio::test]
async fn a_hundred_rotations_under_load_lose_nothing() {
    const ROTATIONS: usize = 100;
    let site = Site::new().await;
    let front = mqttx_test::TlsFront::builder(&site.server()).clients_of(&site.pki);
    let peer = mqttx_test::LoadPeer::start(mqttx_test::LoadOptions::default());
    let front = front.start(peer.address()).await;
    let (cert, key) = site.pki.client("gw").write(site.directory.path(), "gw");
    let tls = site.trust().client_certificate(cert.clone(), key.clone()).reload(true);
    let manager = SessionManager::new();
    let mut events = manager.events_matching([EventName::TlsReloaded, EventName::SessionReady]);
    let built = options(&front.url(), tls).client_id("gw").persistent(true);
    let session = manager.add_session(built.build().expect("valid")).expect("a session");
    session.wait_ready(PATIENCE).await.expect("ready");
    let publisher = session.clone();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let mut accepted = Vec::new();
        while !*stopped.borrow_and_update() {
            let message = Publish::new("t", "x").qos(QoS::AtLeastOnce);
            accepted.push(publisher.enqueue(message).await.expect("room"));
            tokio::task::yield_now().await;
        }
        accepted
    });
    for turn in 0..ROTATIONS {
        let next = site.pki.client(&format!("gw-{turn}"));
        replace(&key, &next.key);
        replace(&cert, &next.cert);
        event(&mut events, EventName::TlsReloaded).await;
        session.reconnect();
        event(&mut events, EventName::SessionReady).await;
    }
    stop.send_replace(true);
    let accepted = load.await.expect("the load runs");
    assert!(accepted.len() > ROTATIONS, "{}", accepted.len());
    for delivery in accepted {
        delivery.await.expect("acknowledged");
    }
    let mut shown: Vec<_> = front.handshakes().into_iter().filter_map(|h| h.client).collect();
    shown.sort_unstable();
    shown.dedup();
    assert!(shown.len() > ROTATIONS, "each certificate was shown: {}", shown.len());
}
