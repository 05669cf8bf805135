//! `[forwarders]` with all their rules.

use super::tests::{problems, read};

const SESSIONS: &str = "[sessions.plant]\nbrokers = ['mqtt://127.0.0.1:1883']\n\
                        [sessions.cloud]\nbrokers = ['mqtt://127.0.0.1:1884']\n";

const TELEMETRY: &str = r#"
[forwarders.telemetry]
from = [{ session = "plant", topics = ["line/+/sensor/+/#"], qos = 1 }]
to = [{ session = "cloud", topic = "site/a/l{1}/{2}/{#}", qos = "source", retain = "source" }]
filter = "payload.temp > 30.0 && levels[1] != 'test'"
on_filter_error = "dead-letter"
transform = [
  { set = "/site", value = "a" }, { set = "/device", value = "{2}" },
  { rename = "/temp", to = "/temperature_c" }, { remove = "/debug" },
  { set = "/meta", value = { at = 2024-05-01T00:00:00Z, list = [1, 2.5, true, "{1}"] } },
  { topic = "^line/(.*)$", to = "l/$1" }, { payload = "{payload}" },
]
metadata = { forwarded_by = "{forwarder}", source_topic = "{topic}", received_at = "{received_unix_ms}", n = 1 }
max_hops = 8
window = 256
rate_limit = { messages = 500, bytes = "1MiB", per = "1s" }
dead_letter = { session = "cloud", topic = "dlq/{forwarder}" }
"#;

#[test]
fn every_rule_is_read() {
    let config = read(&format!("{SESSIONS}{TELEMETRY}")).unwrap_or_else(|p| panic!("{p:#?}"));
    let [forwarder] = config.forwarders.as_slice() else { panic!("one forwarder") };
    assert_eq!(forwarder.sessions(), ["cloud", "plant"]);
    let text = format!("{forwarder:?}");
    for rule in [
        "Cel(\"payload.temp > 30.0 && levels[1] != 'test'\")",
        "on_filter_error: DeadLetter",
        "set /site",
        "rename /temp to /temperature_c",
        "remove /debug",
        "topic \"^line/(.*)$\" to \"l/$1\"",
        "payload \"{payload}\"",
        "forwarded_by",
        "max_hops: 8",
        "messages: Some(500), bytes: Some(1048576), per: 1s",
        "dlq/",
    ] {
        assert!(text.contains(rule), "{rule}: {text}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_said_at_its_place() {
    let found = problems(&format!(
        "{SESSIONS}{}",
        r#"[forwarders.f]
from = [{ session = "plant", topics = ["a/+"] }]
to = [{ session = "cloud", failover = ["clod", "plant"] }]
filter = "paylod.x > 1"
transform = [
  { set = "x", value = 1 },
  { set = "/x", value = "{y}" },
  { set = "/x" },
  { rename = "/a", remove = "/b" },
  { rename = "/a", to = "b" },
  { remove = "/a", to = "b" },
  { topic = "(", to = "b" },
  { set = "/x", value = nan },
  { set = "/x", value = "{2}" },
]
metadata = { m = "{#}", n = "{x}" }
rate_limit = { per = "1s" }
dead_letter = { session = "dead", topic = "dlq/{2}" }
"#
    ));
    let expected = [
        "7:40: unknown session 'clod', did you mean 'cloud'?",
        "8:10: forwarders.f.filter = \"paylod.x > 1\": unknown variable 'paylod': known are levels",
        "10:11: forwarders.f.transform[0].set = \"x\": a JSON pointer begins with '/'",
        "11:25: forwarders.f.transform[1].value = \"\\\"{y}\\\"\": unknown placeholder {y}",
        "12:3: forwarders.f.transform[2] = \"set\": set needs value",
        "13:3: forwarders.f.transform[3] = \"rename, remove\": one of set, rename",
        "14:25: forwarders.f.transform[4].to = \"b\": a JSON pointer begins",
        "15:25: forwarders.f.transform[5].to = \"\": remove has no to",
        "16:13: forwarders.f.transform[6].topic = \"(\": not a regular expression",
        "17:25: forwarders.f.transform[7].value = \"nan\": JSON has no number NaN",
        "18:3: forwarders.f.transform[8] = \"/x\": {2} does not exist",
        "20:18: forwarders.f.metadata[\"m\"] = \"m\": {#} needs a '#'",
        "20:29: forwarders.f.metadata[\"n\"] = ",
        "21:14: forwarders.f.rate_limit.messages = \"\": messages, bytes or both",
        "22:27: unknown session 'dead'",
        "22:43: forwarders.f.dead_letter.topic = \"dlq/{2}\": {2} does not exist",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn values_of_the_wrong_kind_are_said_at_their_place() {
    let found = problems(&format!(
        "{SESSIONS}{}",
        r#"[forwarders.f]
from = [{ session = "plant", topics = ["a/+"] }]
to = [{ session = "cloud" }]
on_filter_error = "dead_letter"
transform = [{ set = "/a", valeu = 1 }]
max_hops = 256
rate_limit = { messages = 1, per = "soon" }
dead_letter = { sesion = "cloud", topic = "x" }
"#
    ));
    let expected = [
        "8:19: unknown value 'dead_letter', did you mean 'dead-letter'?",
        "9:28: unknown key 'valeu', did you mean 'value'?",
        "10:12: 256 hops: allowed are 1 to 255",
        "11:36: 'soon' is not a duration",
        "12:15: forwarders.f.dead_letter.session = \"\": a target needs the name of a session",
        "12:17: unknown key 'sesion', did you mean 'session'?",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn a_dead_letter_that_comes_back_is_an_error() {
    let found = problems(&format!(
        "{SESSIONS}[forwarders.f]\nfrom = [{{ session = 'plant', topics = ['#'] }}]\n\
         to = [{{ session = 'cloud' }}]\ndead_letter = {{ session = 'plant', topic = 'dlq' }}\n"
    ));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("8:15: forwarders.f.dead_letter = "), "{found:#?}");
}
