mod access;
mod brokers;
mod stores;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mqttx::Version;

use super::*;

/// A directory of configuration files that goes with the test.
struct Files(PathBuf);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("mqttx-daemon-config-{unique}"));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        Self(directory)
    }

    fn load(&self, name: &str) -> Result<DaemonConfig, Vec<Problem>> {
        load(&self.0.join(name))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn read(text: &str) -> Result<DaemonConfig, Vec<Problem>> {
    Files::new(&[("c.toml", text)]).load("c.toml")
}

/// The problems as `LINE:COLUMN: message`.
pub(super) fn problems(text: &str) -> Vec<String> {
    let problems = read(text).expect_err("the file is wrong");
    problems.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect()
}

const PLAIN: &str = r#"
[daemon]
name = "edge-1"
shutdown_grace = "5s"
connect_rate = 500

[defaults.session]
keep_alive = "30s"
session_expiry = "1h"
reconnect = { initial = "250ms", max = "60s", jitter = "equal", stable_after = "10s" }

[sessions.plant]
brokers = ["mqtt://127.0.0.1:1883", "127.0.0.1:1884"]
protocol = "3.1.1"
client_id = "gw-${env:MQTTX_TEST_UNSET:-lab}-plant"
reconnect = { max = "5s" }

[sessions.cloud]
brokers = ["mqtt://127.0.0.1:1885"]
client_id = "gw-cloud"
session_expiry = "24h"

[forwarders.telemetry]
from = [{ session = "plant", topics = ["line/+/sensor/+/#", "x"], qos = 2 }]
to = [
  { session = "cloud", topic = "site/{forwarder}/{topic}", qos = "source", retain = false },
  { session = "cloud", map = { "line/+/#" = "l{1}/{#}" }, qos = 1, required = false },
]
window = 16
qos0_queue = 7
enabled = false
"#;

#[test]
fn a_plain_file_gives_sessions_and_forwarders() {
    let config = read(PLAIN).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.daemon.name.as_deref(), Some("edge-1"));
    assert_eq!(config.daemon.shutdown_grace, Duration::from_secs(5));
    assert_eq!(config.daemon.connect_rate, Some(500));
    let [cloud, plant] = config.sessions.as_slice() else { panic!("two sessions") };
    assert_eq!((plant.name.as_str(), plant.protocol), ("plant", Version::V311));
    assert_eq!(plant.client_id.as_deref(), Some("gw-lab-plant"));
    assert_eq!(plant.keep_alive, Duration::from_secs(30));
    assert_eq!(plant.session_expiry, None, "a default for MQTT 5 is not for 3.1.1");
    assert_eq!(plant.reconnect.initial, Duration::from_millis(250), "tables are completed");
    assert_eq!(plant.reconnect.max, Duration::from_secs(5));
    assert_eq!(plant.on_refusal, mqttx::OnRefusal::Retry);
    assert_eq!(cloud.session_expiry.map(|e| e.as_secs()), Some(86_400));
    let [forwarder] = config.forwarders.as_slice() else { panic!("one forwarder") };
    assert_eq!(forwarder.name(), "telemetry");
    assert!(!forwarder.is_enabled());
    assert_eq!(forwarder.source_sessions().collect::<Vec<_>>(), ["plant"]);
    assert_eq!(forwarder.target_sessions().collect::<Vec<_>>(), ["cloud", "cloud"]);
}

#[test]
fn ten_mistakes_are_ten_lines() {
    let found = problems(
        r#"[deamon]
name = "x"

[sessions.plant]
brokers = ["mqtt://127.0.0.1:99999"]
keep_alive = "soon"
client-id = "gw"

[sessions.cloud]
brokers = ["mqtt://127.0.0.1:1885"]
protocol = "4"
password = "${env:MQTTX_TEST_UNSET}"

[forwarders.telemetry]
from = [{ session = "plnat", topics = ["line/#/sensor"], qso = 1 }]
to = [{ session = "cloud", topic = "site/{1}", qos = 3 }]
window = 0
"#,
    );
    let expected = [
        "1:2: unknown key 'deamon', did you mean 'daemon'?",
        "5:12: sessions.plant.brokers[0]",
        "6:14: 'soon' is not a duration",
        "7:1: unknown key 'client-id', did you mean 'client_id'?",
        "11:12: unknown protocol version '4'",
        "12:12: the environment variable 'MQTTX_TEST_UNSET' is not set",
        "15:21: unknown session 'plnat', did you mean 'plant'?",
        "15:40: forwarders.telemetry.from[0].topics[0] = \"line/#/sensor\"",
        "15:58: unknown key 'qso', did you mean 'qos'?",
        "16:36: forwarders.telemetry.to[0].topic = \"site/{1}\": {1} needs a '+'",
        "16:54: invalid value: integer `3`, expected 0, 1, 2 or \"source\"",
        "17:10: forwarders.telemetry.window = 0: allowed are 1 to 65535",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn what_is_missing_is_said_at_its_table() {
    let found = problems("[sessions.a]\n\n[forwarders.f]\nto = [{ topic = 'x' }]\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("1:11: sessions.a.brokers"), "{found:#?}");
    assert!(found[1].starts_with("3:13: forwarders.f.from"), "{found:#?}");
    assert!(found[2].starts_with("4:7: forwarders.f.to[0].session"), "{found:#?}");
}

#[test]
fn broken_toml_is_located_and_nothing_is_called_missing() {
    let found = problems("[sessions.a]\nbrokers = [\"mqtt://h\"\nkeep_alive = 5\n[forwarders.f]\n");
    assert!(!found.is_empty());
    assert!(found.iter().all(|problem| !problem.contains("forwarders.f")), "{found:#?}");
}

#[test]
fn missing_and_unreadable_files_have_a_place_too() {
    let files = Files::new(&[("bad.toml", "")]);
    std::fs::write(files.0.join("bad.toml"), b"[daemon]\nname = \"\xff\"\n").unwrap();
    let problem = &files.load("bad.toml").unwrap_err()[0];
    assert_eq!((problem.line, problem.column), (2, 9));
    let problem = &files.load("none.toml").unwrap_err()[0];
    assert!(problem.to_string().contains("none.toml:1:1: cannot be read"), "{problem}");
}

#[test]
fn a_directory_is_read_in_order_and_names_are_unique() {
    let session = "[sessions.a]\nbrokers = ['mqtt://h']\n";
    let files = Files::new(&[
        ("10.toml", session),
        ("20.toml", "[sessions.b]\nbrokers = ['mqtt://h']\n[log]\nlevel = 'warn'\n"),
        ("ignored.txt", "not toml"),
    ]);
    let config = load(&files.0).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.sessions.len(), 2);
    assert_eq!(config.log.level.general, Level::Warn);
    std::fs::write(files.0.join("30.toml"), session).unwrap();
    let found = load(&files.0).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].path.ends_with("30.toml"));
    assert!(found[0].message.starts_with("'a' is defined in another file, too: "));
    assert!(found[0].message.ends_with("10.toml:1"), "{}", found[0].message);
}

#[test]
fn what_stands_twice_or_is_no_table_is_named() {
    let found = problems("[sessions.a]\nbrokers = ['h']\nbrokers = ['i']\n[sessions.a]\n");
    assert_eq!(found, ["3:1: 'brokers' is defined twice", "4:11: 'a' is defined twice"]);
    let found = problems("[[forwarders]]\nname = 'x'\n[defaults]\nkeep_alive = 5\n");
    assert_eq!(
        found,
        [
            "1:1: 'forwarders' is a table: [forwarders.NAME]",
            "4:1: unknown key 'keep_alive': known are session; [defaults.session] has those of sessions"
        ]
    );
}

#[test]
fn no_error_shows_what_came_from_outside() {
    let files = Files::new(&[
        ("secret", "hunter2\n"),
        (
            "c.toml",
            r#"
[sessions.a]
brokers = ["mqtt://127.0.0.1"]
password = 12345678
username = "u"
keep_alive = "${file:secret}"
[forwarders.f]
from = [{ session = "a", topics = ["x"], qos = "${file:secret}" }]
to = [{ session = "a", topic = "x/#/${file:secret}" }]
"#,
        ),
    ]);
    let found = files.load("c.toml").unwrap_err();
    let text: String = found.iter().map(|p| format!("{p}\n")).collect();
    assert_eq!(found.len(), 4, "{text}");
    assert!(!text.contains("hunter2") && !text.contains("12345678"), "{text}");
}

#[test]
fn values_from_files_are_used() {
    let files = Files::new(&[
        ("user", "gw\n"),
        (
            "c.toml",
            "[sessions.a]\nbrokers = ['h']\nusername = '${file:user}'\npassword_file = 'user'\n",
        ),
    ]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.sessions[0].username.as_deref(), Some("gw"));
    assert_eq!(config.sessions[0].password_file.as_deref(), Some(&*files.0.join("user")));
}

#[test]
fn fleets_are_numbered_sessions() {
    let config = read(
        "[defaults.session]\nkeep_alive = '7s'\n[fleets.dev]\ncount = 3\nbrokers = ['h']\nclient_id = 'd-{i:03}'\n",
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let ids: Vec<_> = config.sessions.iter().map(|s| (&*s.name, s.client_id.as_deref())).collect();
    assert_eq!(
        ids,
        [("dev-00000", Some("d-000")), ("dev-00001", Some("d-001")), ("dev-00002", Some("d-002"))]
    );
    assert_eq!(config.sessions[2].keep_alive, Duration::from_secs(7));
    let found = problems("[fleets.dev]\ncount = 0\nbrokers = ['h']\n[fleets.x]\nbrokers = ['h']\n");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn two_sessions_with_one_client_id_are_refused() {
    let found = problems(
        "[sessions.a]\nbrokers = ['mqtt://h:1883']\nclient_id = 'x'\n[sessions.b]\nbrokers = ['h']\nclient_id = 'x'\n",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("6:13: the client id 'x' is that of the session 'a'"),
        "{found:#?}"
    );
    let fleet = problems("[fleets.f]\ncount = 2\nbrokers = ['h']\nclient_id = 'x'\n");
    assert_eq!(fleet.len(), 1, "{fleet:#?}");
    let fleet = problems("[fleets.f]\ncount = 3\nbrokers = ['h']\nclient_id = 'x'\n");
    assert_eq!(fleet.len(), 1, "said once: {fleet:#?}");
    assert!(fleet[0].starts_with("4:13: the client id 'x' is that of every session of the fleet"));
}

#[test]
fn loops_are_refused() {
    let base =
        "[sessions.a]\nbrokers = ['h1']\nprotocol = '3.1.1'\n[sessions.b]\nbrokers = ['h2']\n";
    let own = format!(
        "{base}[forwarders.f]\nfrom = [{{ session = 'a', topics = ['x/#'] }}]\nto = [{{ session = 'a', topic = 'x/y' }}]\n"
    );
    let found = problems(&own);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("own filter 'x/#'"), "{found:#?}");
    let circle = format!(
        "{base}[forwarders.f]\nfrom = [{{ session = 'a', topics = ['x/#'] }}]\nto = [{{ session = 'b' }}]\n\
         [forwarders.g]\nfrom = [{{ session = 'b', topics = ['x/#'] }}]\nto = [{{ session = 'a' }}]\n"
    );
    let found = problems(&circle);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("in a circle"), "{found:#?}");
}

#[test]
fn v5_keys_in_a_311_session_are_errors() {
    let found = problems(
        "[sessions.a]\nbrokers = ['h']\nprotocol = '3.1.1'\nclient_id = 'x'\nsession_expiry = '1h'\n",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("5:18: sessions.a.session_expiry"), "{found:#?}");
}

#[test]
fn what_the_defaults_get_wrong_is_said_once_where_they_stand() {
    let found = problems(
        "[defaults.session]\nkeep_alive = '99999s'\nreconnect = { initial = '5s' }\n\
         [sessions.a]\nbrokers = ['h']\n[sessions.b]\nbrokers = ['h']\nreconnect = { max = '1s' }\n",
    );
    let expected = [
        "2:14: defaults.session.keep_alive = 99999s: 0s (off)",
        "8:21: sessions.b.reconnect.max = 1s: it must not be below",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn relative_paths_count_from_the_file_that_has_them() {
    let files = Files::new(&[
        ("a.toml", "[defaults.session]\npassword_file = 'secret'\n"),
        ("secret", "x"),
    ]);
    let other = Files::new(&[("b.toml", "[sessions.s]\nbrokers = ['h']\nusername = 'u'\n")]);
    std::os::unix::fs::symlink(other.0.join("b.toml"), files.0.join("b.toml")).unwrap();
    let config = load(&files.0).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.sessions[0].password_file.as_deref(), Some(&*files.0.join("secret")));
}

#[test]
fn a_key_outside_of_all_tables_is_unknown_whatever_its_value() {
    let found = problems("deamon = 'x'\nbrokers = ['h']\nlog = 5\n[http2]\n");
    let expected = [
        "1:1: unknown key 'deamon', did you mean 'daemon'?",
        "2:1: unknown key 'brokers': known are daemon, defaults",
        "3:7: 'log' is a table: [log]",
        "4:2: unknown key 'http2', did you mean 'http'?",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn a_daemon_has_a_name_or_gets_one() {
    for name in ["", " "] {
        let found =
            problems(&format!("[daemon]\nname = '{name}'\n[sessions.a]\nbrokers = ['h']\n"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("2:8: ") && found[0].contains("a name"), "{found:#?}");
    }
}
