//! Ten thousand sessions.

use super::daemon::Daemon;
use super::{opened, shows};

const ROWS: &str = "document.querySelectorAll('.grid-space .grid-row').length";
const COUNT: &str = "document.querySelector('#sessions-count').textContent";

#[tokio::test]
async fn ten_thousand_sessions_are_a_few_rows_and_each_is_found() {
    let daemon = Daemon::start(
        "[daemon]\nname = 'd'\n[http]\nlisten = '127.0.0.1:0'\n\
         [fleets.dev]\ncount = 10000\nclient_id = 'dev-{i:05}'\nenabled = false\n\
         brokers = ['mqtt://127.0.0.1:1']\n",
    )
    .await;
    let Some(mut page) = opened(daemon.address).await else { return };
    page.until(&format!("{COUNT} === '10,000'")).await;
    page.until(&shows("dev-00000", "stopped")).await;
    let rows = page.value(ROWS).await.as_u64().expect("a number");
    assert!((5..=60).contains(&rows), "{rows} rows are elements");

    page.press("/").await;
    page.enter("dev-0999").await;
    page.until(&format!("{COUNT} === '10 of 10,000' && {ROWS} === 10")).await;
    page.until(&shows("dev-09997", "stopped")).await;
    page.press("Escape").await;
    page.until(&format!("{COUNT} === '10,000'")).await;

    // From one end to the other, and the other way round.
    page.value("document.querySelector('.grid-body').focus()").await;
    page.press("End").await;
    page.until(&shows("dev-09999", "stopped")).await;
    let rows = page.value(ROWS).await.as_u64().expect("a number");
    assert!((5..=60).contains(&rows), "{rows} rows are elements");
    page.click(".cell-name button").await;
    page.until(
        "document.querySelector('[role=columnheader]').getAttribute('aria-sort') === 'descending'",
    )
    .await;
    page.value("document.querySelector('.grid-body').scrollTop = 0").await;
    page.until(
        "document.querySelector('[data-name=\"dev-09999\"]').getAttribute('aria-rowindex') === '2'",
    )
    .await;

    page.click("#states [data-state=connected]").await;
    page.until(&format!("{COUNT} === '0 of 10,000' && {ROWS} === 0")).await;
    assert_eq!(page.problems(), [] as [String; 0]);
}
