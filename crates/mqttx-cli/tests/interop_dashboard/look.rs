//! How it looks: narrow and wide, light and dark.

use super::daemon::Bridge;
use super::{opened, shows};

const PAGE: &str = "getComputedStyle(document.body).backgroundColor";

#[tokio::test]
async fn a_phone_shows_all_without_scrolling_sideways() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    for width in [320, 390, 820, 1400] {
        page.resize(width, 800, width < 500).await;
        page.open(&format!("http://{}/", bridge.daemon.address)).await;
        page.until(&shows("dst", "connected")).await;
        page.until(
            "document.querySelector('[data-forwarder=fw] [data-order=pause]').offsetWidth > 0",
        )
        .await;
        let wide = "[...document.querySelectorAll('main *')].filter((node) => \
            !node.closest('svg') && node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.outerHTML)";
        assert_eq!(page.value(wide).await, serde_json::json!([]), "at {width}");
        // A phone makes its window wider when the page does not fit.
        let fits =
            format!("innerWidth === {width} && document.documentElement.scrollWidth <= {width}");
        assert_eq!(page.value(&fits).await, true, "at {width}");
        page.click("[data-name=dst]").await;
        page.until("document.querySelector('#detail').innerText.includes('gw-dst')").await;
        assert_eq!(page.value(&fits).await, true, "at {width}");
    }
}

#[tokio::test]
async fn it_is_as_dark_as_the_system_until_the_switch_says_otherwise() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&shows("dst", "connected")).await;
    page.prefer("light").await;
    let light = page.value(PAGE).await;
    page.prefer("dark").await;
    let dark = page.value(PAGE).await;
    assert_ne!(light, dark);
    page.click("#theme").await;
    assert_eq!(page.value(PAGE).await, light);
    page.open(&format!("http://{}/", bridge.daemon.address)).await;
    page.until(&shows("dst", "connected")).await;
    assert_eq!(page.value(PAGE).await, light, "it is remembered");
    page.press("t").await;
    assert_eq!(page.value(PAGE).await, dark);
}

#[tokio::test]
async fn the_keyboard_reaches_everything_and_buttons_have_names() {
    let bridge = Bridge::start("").await;
    let Some(mut page) = opened(bridge.daemon.address).await else { return };
    page.until(&shows("dst", "connected")).await;
    let nameless = "[...document.querySelectorAll('button, input, [role=grid]')].filter((node) => \
        !(node.getAttribute('aria-label') ?? node.labels?.[0]?.textContent ?? node.textContent).trim()).length";
    assert_eq!(page.value(nameless).await, 0);
    page.press("/").await;
    assert_eq!(page.value("document.activeElement.id").await, "search");
    let ring = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(page.value(ring).await, "solid");
    page.press("Escape").await;
    page.press("e").await;
    assert_eq!(page.value("document.activeElement.id").await, "log-filter");
    page.press("Escape").await;
    page.press("?").await;
    page.until("document.querySelector('#dialog').open").await;
}
