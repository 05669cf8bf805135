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

const STORES: &str = r#"
[stores.disk]
kind = "file"
path = "./a/b"
fsync = "interval:50ms"
max_bytes = "4GiB"
on_full = "reject"

[stores.other]
kind = "file"

[stores.scratch]
kind = "memory"

[defaults.session]
brokers = ["h"]
store = "disk"

[sessions.a]
[sessions.b]
store = "scratch"
[fleets.f]
count = 2
"#;

#[test]
fn sessions_name_their_store_or_take_that_of_the_defaults() {
    let files = Files::new(&[("c.toml", STORES)]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.stores.keys().collect::<Vec<_>>(), ["disk", "scratch"], "those in use");
    let disk = config.stores["disk"].file.as_ref().unwrap();
    assert_eq!(disk.directory(), files.0.join("state/a/b"));
    let text = format!("{disk:?}");
    assert!(text.contains("50ms") && text.contains("4294967296"), "{text}");
    assert!(text.contains("Reject"), "{text}");
    for session in &config.sessions {
        let expected = if session.name == "b" { "scratch" } else { "disk" };
        let store = session.store.as_ref().unwrap();
        assert!(std::sync::Arc::ptr_eq(store, &config.stores[expected].store), "{}", session.name);
    }
    assert!(!files.0.join("state").exists(), "nothing is created");
}

#[test]
fn data_dir_is_relative_to_the_file() {
    let text = "[daemon]\ndata_dir = 'd'\n[stores.x]\nkind = 'file'\n\
                [sessions.a]\nbrokers = ['h']\nstore = 'x'\n";
    let files = Files::new(&[("c.toml", text)]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let store = config.stores["x"].file.as_ref().unwrap();
    assert_eq!(store.directory(), files.0.join("d/x"), "its name is its path");
}

#[test]
fn mistakes_in_stores_are_named_with_their_place() {
    let found = problems(
        r#"[stores.a]
kind = "file"
path = "x"
fsync = "always"
[stores.b]
kind = "file"
path = "./x"
url = "redis://h"
[stores.c]
path = "y"
[stores.d]
kind = "flie"
[stores.e]
kind = "file"
path = "../x"
max_byte = 5
[stores.g]
kind = "file"
path = "g"
max_bytes = "5KiB"
[stores.h]
kind = "redis"
[stores.i]
kind = "file"
on_error = "pause"
[sessions.s]
brokers = ["h"]
store = "bb"
stor = "b"
[sessions.t]
brokers = ["h"]
store = 5
"#,
    );
    let expected = [
        "4:9: 'always' is not a policy: allowed are group, interval",
        "7:8: stores.b.path: the store 'a' has the same path",
        "8:1: 'url' means nothing for a file store",
        "9:9: a store needs its kind: memory, file or redis",
        "12:8: unknown value 'flie', did you mean 'file'?",
        "15:8: stores.e.path: it is a relative path below daemon.data_dir",
        "16:1: unknown key 'max_byte', did you mean 'max_bytes'?",
        "20:13: stores.g.max_bytes: 5120 is too little: at least 1 MiB",
        "21:9: stores.h.url: a redis store needs its address",
        "25:12: stores.i.on_error: a file store fails with its disk",
        "28:9: unknown store 'bb', did you mean",
        "29:1: unknown key 'stor', did you mean 'store'?",
        "32:9: store is the name of one of [stores]",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn redis_stores_take_their_keys() {
    let config = read(
        "[stores.r]\nkind = 'redis'\nurl = 'redis://h:1/2'\nusername = 'u'\npassword = 'hunter2'\n\
         database = 3\nprefix = 'p:'\nttl = '30d'\non_error = 'fail'\non_full = 'reject'\n\
         wait = { replicas = 2, timeout = '2s' }\n[sessions.a]\nbrokers = ['h']\nstore = 'r'\n",
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let text = format!("{:?}", config.stores["r"].store);
    assert!(!text.contains("hunter2"), "{text}");
    let found = problems(
        "[stores.a]\nkind = 'redis'\nurl = 'http://user:hunter2@h'\n\
         [stores.b]\nkind = 'redis'\nurl = 'redis://h'\npath = 'x'\nprefix = 'a{b}'\n\
         [stores.c]\nkind = 'redis'\nurl = 'redis://h'\nttl = '10ms'\n\
         [stores.d]\nkind = 'redis'\nurl = 'redis://h'\nwait = { replicas = 0 }\n\
         [stores.e]\nkind = 'redis'\nurl = 'redis://h'\non_error = 'wait'\n",
    );
    let expected = [
        "3:7: stores.a.url: ",
        "7:1: 'path' means nothing for a redis store",
        "8:10: stores.b.prefix: braces",
        "12:7: stores.c.ttl: at least 1s",
        "16:8: stores.d.wait: replicas",
        "20:12: unknown value 'wait'",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn ways_to_a_broker_are_keys_of_the_session() {
    let config = read(
        "[defaults.session]\nproxy = 'http://u:geheim@proxy:3128'\ntcp = { keep_alive = '1m', send_buffer = '64KiB' }\n\
         [sessions.a]\nbrokers = ['ws://h/mqtt', 'unix:///run/s']\nws = { headers = { X-Token = 'geheim' } }\n\
         tcp = { nodelay = false }\n\
         [sessions.b]\nbrokers = ['h']\nproxy = 'none'\n",
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [a, b] = &config.sessions[..] else { panic!("two sessions") };
    assert_eq!((a.tcp.nodelay, a.tcp.keep_alive), (false, Some(Duration::from_secs(60))));
    assert_eq!((b.tcp.nodelay, b.tcp.send_buffer), (true, Some(65_536)));
    assert_eq!(a.ws.headers["X-Token"].expose(), b"geheim");
    assert!(matches!(&a.proxy, Some(mqttx::Proxy::Server(server)) if server.host() == "proxy"));
    assert_eq!(b.proxy, Some(mqttx::Proxy::None));
    let config = read("[sessions.a]\nbrokers = ['h']\n").unwrap_or_else(|_| panic!("valid"));
    assert_eq!(config.sessions[0].proxy, Some(mqttx::Proxy::Environment), "a daemon asks it");
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
fn what_stands_in_the_wrong_place_is_told_without_its_secrets() {
    let found = problems(
        "[stores.r]\nkind = 'redis'\nurl = 'redis://h'\n\
         [sessions.a]\nbrokers = 'mqtts://gw:hunter2@h'\n\
         user_properties = 'hunter2'\n\
         ws = { headers = 'Cookie hunter2' }\n\
         auth = 'gw hunter2'\n\
         store = 'redis://:hunter2@h'\n\
         enabled = 'mqtt://gw:hunter2@h'\n\
         [sessions.b]\nbrokers = ['h']\nuser_properties = [['a', 'b'], 'hunter2']\n\
         ws = 'wss://gw:hunter2@h'\n\
         [http]\nlisten = 'http://gw:hunter2@h:80'\n\
         [log]\nformat = 3\n",
    );
    let expected = [
        "5:11: invalid type: string \"mqtts://***@h\", expected a list",
        "6:19: invalid value '***', expected a table of names and values",
        "7:18: invalid value '***', expected a table",
        "8:8: invalid value '***', expected a table",
        "9:9: unknown store 'redis://***@h': known are r",
        "10:11: invalid type: string \"mqtt://***@h\", expected a boolean",
        "13:32: invalid value '***', expected a pair",
        "14:6: invalid type: string \"wss://***@h\", expected a table",
        "16:10: 'http://***@h:80' is not an address",
        "18:10: invalid type, expected a string",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn wrong_ways_to_a_broker_are_told_without_secrets() {
    let found = problems(
        "[sessions.a]\nbrokers = ['h']\nproxy = 'https://u:geheim@h'\n\
         [sessions.b]\nbrokers = ['ws://h/x#y']\nws = { headers = { Host = 'geheim', 'X Y' = 'z' } }\n\
         [sessions.c]\nbrokers = ['h']\ntcp = { keep_alive = '1ms', send_buffer = 1 }\n\
         [sessions.d]\nbrokers = ['h']\ntcp = { no_delay = true }\n",
    );
    let expected = [
        "3:9: unknown scheme: allowed are http://, socks5://, socks5h://",
        "5:12: sessions.b.brokers[0] = ws://h/x#y: a WebSocket address has no fragment",
        "6:27: sessions.b.ws.headers.Host = ***: the handshake sets this field itself",
        "6:18: sessions.b.ws.headers = \"X Y\": the name of a header field",
        "9:22: sessions.c.tcp.keep_alive = 1ms: 1s to 32767s are allowed",
        "9:43: sessions.c.tcp.send_buffer = 1: 4096 to 1073741824 are allowed",
        "12:9: unknown key 'no_delay', did you mean 'nodelay'?",
    ];
    for part in expected {
        assert!(found.iter().any(|line| line.starts_with(part)), "{part}\n{found:#?}");
    }
    assert!(!found.concat().contains("geheim"), "{found:#?}");
}

#[test]
fn one_client_id_at_one_broker_is_found_under_other_addresses() {
    for (one, other, same) in [
        ("mqtt://u:p@Host:1883/x", "host", true),
        ("ws://h/a?token=1", "ws://h:80/a", true),
        ("unix:///run/s", "unix:///run/%73", true),
        ("ws://h/a", "ws://h/b", false),
        ("h:1", "h:2", false),
    ] {
        let text = format!(
            "[sessions.a]\nbrokers = ['{one}']\nclient_id = 'i'\n[sessions.b]\nbrokers = ['{other}']\nclient_id = 'i'\n"
        );
        assert_eq!(read(&text).is_err(), same, "{one} and {other}");
    }
}

#[test]
fn certificates_are_read_beside_the_file_and_told_with_their_line() {
    let pki = mqttx_test::Pki::new("ca");
    let client = pki.client("gw");
    let text = "[sessions.plant]\nbrokers = [\"mqtts://h\", \"other\"]\n\
                tls = { ca = \"ca.pem\", cert = \"gw.pem\", key = \"gw.key\", reload = true }\n";
    let (ca, cert, key) = (pki.ca(), client.cert.as_str(), client.key.as_str());
    let beside = [("c.toml", text), ("ca.pem", ca.as_str()), ("gw.pem", cert), ("gw.key", key)];
    let read = Files::new(&beside).load("c.toml").expect("valid");
    let tls = read.sessions[0].tls.as_ref().expect("options");
    assert!(tls.reload);
    let other = pki.client("other").key;
    let mixed = [("c.toml", text), ("gw.pem", cert), ("gw.key", other.as_str())];
    let problems = Files::new(&mixed).load("c.toml").expect_err("no authority");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].line, problems[0].column), (3, 14), "{problems:?}");
    assert!(problems[0].message.contains("sessions.plant.tls.ca = "), "{problems:?}");
    assert!(problems[0].message.contains("No such file"), "{problems:?}");
    let wrong = "[sessions.plant]\nbrokers = [\"mqtts://h\"]\ntls = { cafile = \"ca.pem\" }\n";
    let problems = super::tests::problems(wrong);
    assert!(problems.len() == 1 && problems[0].starts_with("3:9: "), "{problems:?}");
}

#[test]
fn authentication_is_read_from_the_file_and_its_files_are_beside_it() {
    use mqttx::auth::AuthMethod;
    let files = Files::new(&[
        (
            "c.toml",
            r#"
[sessions.a]
brokers = ["h"]
auth = { method = "SCRAM-SHA-512", username = "u", password = "${file:secret}" }

[sessions.b]
brokers = ["h"]
auth = { method = "OAUTHBEARER", token_file = "secret" }

[sessions.c]
brokers = ["h"]
username = "u"
password_file = "secret"
auth = { method = "PLAIN" }

[sessions.d]
brokers = ["h"]
protocol = "3.1.1"
clean_start = true
auth = { username = "u", password_file = "secret" }
"#,
        ),
        ("secret", "geheim\n"),
    ]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let methods: Vec<_> =
        config.sessions.iter().map(|s| s.auth.as_ref().and_then(|auth| auth.method)).collect();
    let (scram, bearer) = (AuthMethod::ScramSha512, AuthMethod::OauthBearer);
    assert_eq!(methods, [Some(scram), Some(bearer), Some(AuthMethod::Plain), None]);
    let auth = |n: usize| config.sessions[n].auth.clone().unwrap();
    assert_eq!(auth(0).password, Some("geheim".into()));
    assert_eq!(auth(1).token_file, Some(files.0.join("secret")));
    assert_eq!(auth(3).password_file, Some(files.0.join("secret")));
    let shown = format!("{config:?}");
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn mistakes_in_authentication_are_named_without_the_secret() {
    for (line, expected) in [
        (
            r#"auth = { method = "KERBEROS" }"#,
            "known are SCRAM-SHA-256, SCRAM-SHA-512, PLAIN, OAUTHBEARER",
        ),
        (r#"auth = { methd = "PLAIN" }"#, "did you mean 'method'?"),
        (r#"auth = { method = "PLAIN" }"#, "PLAIN needs a username and a password"),
        (r#"auth = { method = "OAUTHBEARER" }"#, "OAUTHBEARER needs auth.token"),
        (
            r#"auth = { method = "OAUTHBEARER", username = "u", password = "geheim" }"#,
            "takes a token",
        ),
        (r#"auth = { method = "PLAIN", username = "u", token = "geheim" }"#, "takes a password"),
        (r#"auth = { token = "geheim" }"#, "a token needs auth.method"),
        (r#"auth = { method = "OAUTHBEARER", token_file = "missing" }"#, "auth.token_file"),
        ("auth = { password = 271828 }", "invalid value '***'"),
        (
            "auth = { method = \"PLAIN\", username = \"u\", password = 271828 }",
            "invalid value '***'",
        ),
        (
            "protocol = \"3.1.1\"\nclean_start = true\nauth = { method = \"PLAIN\", username = \"u\", password = \"geheim\" }",
            "use protocol 5",
        ),
        ("username = \"v\"\nauth = { username = \"u\", password = \"geheim\" }", "give only one"),
    ] {
        let found = problems(&format!("[sessions.a]\nbrokers = ['h']\n{line}\n"));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{line}: {found:#?}");
        let shown = found.join("\n");
        assert!(!shown.contains("geheim") && !shown.contains("271828"), "{shown}");
    }
}

#[test]
fn each_refusal_has_its_reaction() {
    use mqttx::Reaction;
    let text = |on: &str| {
        format!(
            "[defaults.session]\nreconnect = {{ max = '5s', on = {{ banned = 'retry' }} }}\n\
             [sessions.a]\nbrokers = ['h']\nreconnect = {{ on = {{ {on} }} }}\n"
        )
    };
    let names = "bad_credentials = 'retry-slowly', taken_over = 'stop', server_moved = 'follow'";
    let config = read(&text(names)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let reconnect = config.sessions[0].reconnect;
    let on = reconnect.on;
    assert_eq!(reconnect.max, Duration::from_secs(5));
    assert_eq!(
        (on.bad_credentials, on.banned),
        (Some(Reaction::RetrySlowly), Some(Reaction::Retry))
    );
    assert_eq!((on.taken_over, on.quota), (Some(Reaction::Stop), None));
    assert_eq!(on.server_moved, Some(Reaction::Follow));
    for (on, expected) in [
        ("quota = 'follow'", "only server_moved has an address to follow"),
        ("quota = 'giveup'", "unknown value 'giveup'"),
        ("taken-over = 'stop'", "did you mean 'taken_over'?"),
    ] {
        let found = problems(&text(on));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{on}: {found:#?}");
    }
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
