//! The dashboard in a real browser.

#[path = "../http/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod client;
#[path = "../http/daemon.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod daemon;
mod fleet;
mod look;
mod orders;
mod sessions;
mod token;

use std::net::SocketAddr;

use mqttx_test::Chromium;

/// A browser with the page of that daemon.
async fn opened(address: SocketAddr) -> Option<Chromium> {
    let mut page = Chromium::start().await?;
    page.resize(1400, 900, false).await;
    page.open(&format!("http://{address}/")).await;
    Some(page)
}

/// The row of a session shows that word.
fn shows(session: &str, state: &str) -> String {
    format!("document.querySelector('[data-name=\"{session}\"] .state').textContent === '{state}'")
}

/// A figure of the forwarder "fw".
fn figure(stat: &str, value: &str) -> String {
    format!(
        "document.querySelector('[data-forwarder=fw] [data-stat={stat}] dd').textContent === '{value}'"
    )
}
