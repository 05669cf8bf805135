//! The token: asked for, kept for the tab, and nowhere in the page.

use super::client::get;
use super::daemon::Bridge;
use super::{opened, shows};

#[tokio::test]
async fn the_page_asks_for_the_token_and_keeps_it_for_the_tab() {
    let bridge = Bridge::start("token = 'open sesame'").await;
    let address = bridge.daemon.address;
    let page = get(address, "/").await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("sesame"));
    let Some(mut page) = opened(address).await else { return };
    let hint = "document.querySelector('#token-hint').textContent";
    page.until(&format!("{hint}.includes('asks for the token')")).await;
    page.until("document.activeElement.id === 'token'").await;
    page.enter("wrong").await;
    page.press("Enter").await;
    page.until(&format!("{hint}.includes('not the daemon')")).await;
    assert_eq!(page.value("document.querySelectorAll('[data-name]').length").await, 0);
    page.until("document.activeElement.id === 'token'").await;
    page.enter("open sesame").await;
    page.press("Enter").await;
    page.until(&shows("dst", "connected")).await;
    page.until("document.querySelector('dialog[open]') === null").await;
    page.click("[data-order=pause]").await;
    page.until("document.querySelector('[data-forwarder=fw] .state').textContent === 'paused'")
        .await;

    page.open(&format!("http://{address}/")).await;
    page.until(&shows("dst", "connected")).await;
    assert_eq!(page.value("localStorage.length").await, 0);
    assert_eq!(page.value("document.cookie").await, "");
}
