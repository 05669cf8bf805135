//! Certificates that change where their paths do not.

use mqttx_test::{Pki, TempDir};

use super::daemon::{Daemon, SOON};

#[tokio::test]
async fn a_reload_reads_certificates_that_nobody_watches() {
    let place = TempDir::new("certificates");
    let file = place.path().join("ca.pem");
    std::fs::write(&file, Pki::new("one").ca()).expect("a file");
    // Nobody listens there: that the files are read is what counts.
    let config = format!(
        "[sessions.src]\nbrokers = ['mqtts://127.0.0.1:1']\n\
         tls = {{ ca = '{}', reload = false }}\n",
        file.display()
    );
    let mut daemon = Daemon::start("certificates", &config).await;
    daemon.request("POST", "/-/reload").await.expect("an answer");
    assert!(!daemon.log().contains("certificates reloaded"), "{}", daemon.log());
    std::fs::write(&file, Pki::new("two").ca()).expect("a file");
    daemon.signal("-HUP").await;
    let patience = std::time::Instant::now() + SOON;
    while !daemon.log().contains("certificates reloaded") {
        assert!(std::time::Instant::now() < patience, "{}", daemon.log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}
