//! What comes, goes and moves.

use super::client::get;
use super::daemon::{ACCEPTED, Bridge, Daemon, sent};
use super::{figure, opened, shows};

const LIVE: &str = "document.querySelector('#link').textContent === 'Live'";

#[tokio::test]
async fn a_session_is_seen_going_and_coming_without_an_error_in_the_console() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(LIVE).await;
    page.until(&shows("src", "connected")).await;
    page.until(&shows("dst", "connected")).await;
    assert_eq!(page.value("document.title").await, "d · mqttx");
    page.until("document.querySelector('#card-sessions').innerText.includes('of 2 connected')")
        .await;
    bridge.target.close().await;
    page.until(&shows("dst", "reconnecting")).await;
    page.until(
        "document.querySelector('[data-type=session_disconnected]').innerText.includes('dst')",
    )
    .await;
    page.until(
        "document.querySelector('[data-name=dst] .cell-error').textContent !== '' \
         && document.querySelector('[data-name=src] .cell-error').textContent === ''",
    )
    .await;
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    page.until(&shows("dst", "connected")).await;
    page.until("document.querySelector('[data-name=dst] .cell-reconnects').textContent === '1'")
        .await;
    assert_eq!(page.problems(), [] as [String; 0]);
}

#[tokio::test]
async fn the_figures_of_a_forwarder_move() {
    let mut bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&figure("forwarded", "0")).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'one' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'one' }")).await;
    page.until(&figure("inFlight", "1")).await;
    page.until("document.querySelector('.wires .drops').classList.contains('moves')").await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    page.until(&figure("forwarded", "1")).await;
    page.until(&figure("inFlight", "0")).await;
    // The charts go on, and come to rest with the rest.
    page.until("document.querySelector('#card-messages .line').getAttribute('d').length > 20")
        .await;
    page.until("!document.querySelector('.wires .drops').classList.contains('moves')").await;
    let ends = "[...document.querySelectorAll('.end')].map((end) => end.textContent)";
    assert_eq!(page.value(ends).await, serde_json::json!(["src", "dst"]));
    assert_eq!(page.problems(), [] as [String; 0]);
}

#[tokio::test]
async fn a_page_waits_for_a_daemon_that_comes_again() {
    let address = mqttx_test::free_address();
    let bridge = Bridge::start_at(&address.to_string(), "").await;
    let Some(mut page) = opened(address).await else { return };
    page.until(LIVE).await;
    bridge.daemon.signal().await;
    let (code, log) = bridge.daemon.end().await;
    assert_eq!(code, Some(0), "{log}");
    let banner = "document.querySelector('#banner')";
    page.until(&format!("!{banner}.hidden && {banner}.innerText.startsWith('Connection lost')"))
        .await;
    let config = format!(
        "[daemon]\nname = 'again'\n[http]\nlisten = '{address}'\n\
         [sessions.other]\nbrokers = ['127.0.0.1:1']\nenabled = false\n"
    );
    let _daemon = Daemon::start(&config).await;
    page.until(&format!("{banner}.hidden && {LIVE}")).await;
    page.until(&shows("other", "stopped")).await;
    page.until("document.querySelector('[data-name=src]') === null").await;
    assert_eq!(page.value("document.title").await, "again · mqttx");
    assert_eq!(get(address, "/").await.status, 200);
}
