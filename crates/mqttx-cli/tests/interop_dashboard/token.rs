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

#[tokio::test]
async fn the_question_for_the_token_stays_until_it_is_answered_and_takes_any_text() {
    let bridge = Bridge::start("token = 'Öffne 雪 dich'").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    let asked = "document.querySelector('#token-dialog').open";
    for _ in 0..3 {
        page.until(asked).await;
        page.press("Escape").await;
    }
    page.until(asked).await;
    page.value("document.querySelector('#token').focus()").await;
    page.enter("雪").await;
    page.press("Enter").await;
    page.until("document.querySelector('#token-hint').textContent.includes('not the daemon')")
        .await;
    page.enter("Öffne 雪 dich").await;
    page.press("Enter").await;
    page.until(&shows("dst", "connected")).await;
}

#[tokio::test]
async fn a_page_that_is_open_asks_for_the_token_that_a_reload_brings() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&shows("dst", "connected")).await;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let file = std::fs::read_to_string(&path).expect("a file");
    let with_token = file.replace("[http]", "[http]\ntoken = 'later'");
    std::fs::write(&path, with_token).expect("a file");
    page.click("#reload").await;
    page.until("document.querySelector('#token-dialog').open").await;
    page.enter("later").await;
    page.press("Enter").await;
    page.until("document.querySelector('#link').textContent === 'Live'").await;
    page.until("document.querySelector('#banner').hidden").await;
}
