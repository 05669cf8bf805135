//! What is said of a configuration.

use mqttx_test::TempDir;

use super::support::{check, command};

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

/// `mistakes.toml` says of each line what is to be said.
#[tokio::test]
async fn every_mistake_of_a_file_is_named_with_its_place_and_all_in_one_go() {
    let text = include_str!("mistakes.toml");
    let (code, _, stderr) = check(&["check-config"], text).await;
    assert_eq!(code, Some(78), "{stderr}");
    let mut said: Vec<&str> = stderr.lines().collect();
    let mut missing = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        for wanted in text.split(" #! ").skip(1) {
            let (column, message) = wanted.trim().split_once(": ").expect("a column");
            let wanted = format!("mqttx.toml:{line}:{column}: {message}");
            match said.iter().position(|said| said.starts_with(&wanted)) {
                Some(found) => drop(said.remove(found)),
                None => missing.push(wanted),
            }
        }
    }
    assert!(missing.is_empty() && said.is_empty(), "missing: {missing:#?}\nunexpected: {said:#?}");
}

#[tokio::test]
async fn a_file_that_is_missing_or_not_text_ends_with_78_too() {
    for words in [&["check-config"][..], &["run", "--check"], &["run"]] {
        let mut all = words.to_vec();
        all.extend(["-c", "/not/there.toml"]);
        let output = command(&all).output().await.expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        assert!(stderr.starts_with("/not/there.toml:1:1: cannot be read"), "{stderr}");
    }
    let files = TempDir::new("config");
    let path = files.path().join("x.toml");
    std::fs::write(&path, b"[daemon]\nname = \"\xff\"\n").expect("a file");
    let arguments = ["check-config", "--json", "-c", path.to_str().expect("UTF-8")];
    let output = command(&arguments).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(78));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(
        (&report["errors"][0]["line"], &report["errors"][0]["column"]),
        (&2.into(), &9.into())
    );
    assert!(report["errors"][0]["path"].as_str().is_some_and(|path| path.ends_with("x.toml")));
}

#[tokio::test]
async fn a_check_creates_nothing_and_prints_no_secret() {
    let files = TempDir::new("config");
    let path = files.path().join("mqttx.toml");
    let text = "[stores.disk]\nkind = 'file'\n[sessions.s]\nbrokers = ['mqtt://u:hunter2@h:99999']\n\
                store = 'disk'\nclient_id = 's'\npassword = 5\n";
    std::fs::write(&path, text).expect("a file");
    std::fs::write(
        files.path().join("fine"),
        text.replace("99999", "1883").replace("\npassword = 5", ""),
    )
    .expect("a file");
    for (name, code) in [("mqttx.toml", 78), ("fine", 0)] {
        let path = files.path().join(name);
        let arguments = ["check-config", "-c", path.to_str().expect("UTF-8")];
        let output = command(&arguments).output().await.expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
    let entries = std::fs::read_dir(files.path()).expect("a directory").count();
    assert_eq!(entries, 2, "nothing was created");
}
