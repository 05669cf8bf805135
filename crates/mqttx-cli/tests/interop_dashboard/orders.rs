//! What the buttons do.

use super::client::get;
use super::daemon::{ACCEPTED, Bridge};
use super::{opened, shows};

const PAUSED: &str =
    "document.querySelector('[data-forwarder=fw] .state').textContent === 'paused'";

#[tokio::test]
async fn a_forwarder_is_paused_and_resumed() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let Some(mut page) = opened(address).await else { return };
    let pause = "[data-order=pause]";
    page.until(&format!("document.querySelector('{pause}').offsetWidth > 0")).await;
    page.click(pause).await;
    page.until(PAUSED).await;
    assert_eq!(get(address, "/api/v1/forwarders/fw").await.json()["state"], "paused");
    page.until("document.querySelector('#notices').innerText.includes('fw is paused')").await;
    let resume = "[data-order=resume]:not(:disabled)";
    page.until(&format!("document.querySelector('{resume}').offsetWidth > 0")).await;
    page.click(resume).await;
    page.until(&format!("!({PAUSED})")).await;
    assert_eq!(get(address, "/api/v1/forwarders/fw").await.json()["state"], "running");
    assert_eq!(page.problems(), [] as [String; 0]);
}

#[tokio::test]
async fn a_session_is_disconnected_and_reconnected_by_keys_alone() {
    let mut bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&shows("dst", "connected")).await;
    page.value("document.querySelector('.grid-body').focus()").await;
    page.press("ArrowDown").await;
    page.until(
        "document.querySelector('[data-name=dst]').getAttribute('aria-selected') === 'true'",
    )
    .await;
    page.press("Enter").await;
    page.until("document.querySelector('#detail').innerText.includes('gw-dst')").await;
    page.value("document.querySelector('#detail [data-order=disconnect]').focus()").await;
    page.press("Enter").await;
    // The first choice is the harmless one.
    page.until("document.activeElement.textContent === 'Cancel'").await;
    page.value("document.querySelector('#confirm').focus()").await;
    page.press("Enter").await;
    bridge.target.expect("e0 {}").await;
    bridge.target.expect_closed().await;
    page.until(&shows("dst", "stopped")).await;
    page.value("document.querySelector('#detail [data-order=reconnect]').focus()").await;
    page.press("Enter").await;
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    page.until(&shows("dst", "connected")).await;
    page.press("Escape").await;
    page.until("!document.querySelector('#detail').open").await;
    assert_eq!(page.problems(), [] as [String; 0]);
}

#[tokio::test]
async fn a_reload_says_what_is_wrong_with_the_file() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&shows("dst", "connected")).await;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let file = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, file.replace("session = 'dst'", "session = 'dts'")).expect("a file");
    page.click("#reload").await;
    page.until("document.querySelector('#dialog .report').innerText.includes('dts')").await;
    page.press("Escape").await;
    std::fs::write(&path, file).expect("a file");
    page.until("!document.querySelector('#reload').disabled").await;
    page.click("#reload").await;
    page.until("document.querySelector('#notices').innerText.includes('nothing changed')").await;
}
