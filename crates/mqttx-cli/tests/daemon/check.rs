//! What is said of a configuration.

use super::support::check;

#[tokio::test]
async fn a_bad_file_ends_with_78_and_a_line_for_each_problem() {
    let bad = "[sessions.a]\nbroker = 'h'\n[forwarders.f]\nfrom = 5\n";
    for words in [&["run"][..], &["run", "--check"], &["check-config"]] {
        let (code, stdout, stderr) = check(words, bad).await;
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 4, "{stderr}");
        assert!(lines[0].starts_with("mqttx.toml:1:11: sessions.a.brokers"), "{stderr}");
        assert_eq!(lines[1], "mqttx.toml:2:1: unknown key 'broker', did you mean 'brokers'?");
        assert!(lines[2].starts_with("mqttx.toml:3:13: forwarders.f.to"), "{stderr}");
        assert!(lines[3].starts_with("mqttx.toml:4:8: invalid type"), "{stderr}");
    }
}

#[tokio::test]
async fn a_good_file_is_silent_and_json_says_ok() {
    let good = "[sessions.a]\nbrokers = ['127.0.0.1:1']\n";
    for words in [&["run", "--check"][..], &["check-config"]] {
        let (code, stdout, stderr) = check(words, good).await;
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    }
    let (code, stdout, _) = check(&["check-config", "--json"], good).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"ok\":true,\"errors\":[]}\n"));
    let (code, stdout, stderr) = check(&["check-config", "--json"], "[x]\n").await;
    assert_eq!((code, stderr.as_str()), (Some(78), ""));
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["errors"][0]["line"], 1);
    assert_eq!(report["errors"][0]["column"], 2);
}
