use proptest::prelude::*;

use super::super::rule::ForwarderBuilder;
use super::super::template::TopicContext;
use super::*;

/// Whether a forwarder on one session may receive what it published itself.
fn echoes(filter: &str, map: &[(&str, &str)], topic: Option<&str>) -> bool {
    // Built for two sessions, then turned towards itself: build() would refuse the echo.
    let mut builder = ForwarderBuilder::new("fw").source("s", filter).target("t");
    for (from, to) in map {
        builder = builder.map_topic(*from, *to);
    }
    if let Some(topic) = topic {
        builder = builder.topic(topic);
    }
    let mut options = builder.build().unwrap();
    options.targets[0].session = "s".into();
    !own_echoes(&options).is_empty()
}

#[test]
fn templates_are_compared_with_the_own_filter() {
    for (filter, topic, expected) in [
        ("a/+", "b/{1}", false),
        ("a/+", "a/{1}", true),
        ("a/+", "a/{1}/x", false),
        ("a/+", "a/x-{1}", true),
        ("+/b", "{1}/c", false),
        ("+/b", "x{1}/b", true),
        ("+", "{1}/b", false),
        ("a/#", "b/{#}", false),
        ("a/#", "{#}", true),
        ("a/b/#", "b/{#}", false),
        ("a/#", "a", true),
        ("#", "$system/x", false),
        ("#", "x", true),
        ("+/up", "x/{1}/up", false),
        ("+/up", "{forwarder}/up", true),
        ("fw/+", "{forwarder}/up", true),
        ("gw/+", "{forwarder}/up", false),
        ("t/+", "t/{received_unix_ms}", true),
        ("t/+", "t-{received_unix_ms}/x", false),
    ] {
        assert_eq!(echoes(filter, &[], Some(topic)), expected, "{filter} -> {topic}");
    }
    assert!(echoes("a/b", &[], None), "the same topic comes back");
}

#[test]
fn shared_filters_are_compared_without_their_group() {
    assert!(echoes("$share/g/a/+", &[], Some("a/{1}")));
    assert!(!echoes("$share/g/a/+", &[], Some("g/a/{1}")));
}

#[test]
fn only_reachable_entries_of_a_map_count() {
    assert!(!echoes("a/+", &[("a/+", "b/{1}")], None), "the map covers the filter");
    assert!(echoes("a/+", &[("a/1", "b")], None), "others keep their topic");
    assert!(!echoes("a/+", &[("c/+", "a/{1}")], Some("b")), "the entry is never used");
    assert!(echoes("a/+", &[("+/1", "{1}/2")], Some("b")), "{{1}} can only be a");
    assert!(!echoes("a/+", &[("+/1", "x/{1}")], Some("b")));
    assert!(!echoes("a/1", &[("+/+", "{2}/{1}")], None), "1/a is not a/1");
}

fn forwarder(name: &str, from: (&str, &str), to: &str, topic: &str) -> ForwarderOptions {
    let builder = ForwarderBuilder::new(name).source(from.0, from.1).target(to);
    builder.topic(topic).build().unwrap()
}

fn cycles(forwarders: &[ForwarderOptions], old: &[&str]) -> Vec<String> {
    let all: Vec<&ForwarderOptions> = forwarders.iter().collect();
    let version =
        |session: &str| Some(if old.contains(&session) { Version::V311 } else { Version::V5 });
    find_cycles(&all, version).iter().map(ToString::to_string).collect()
}

#[test]
fn circle_through_a_311_session_is_found_once() {
    let there = forwarder("there", ("a", "x/#"), "b", "x/{#}");
    let back = forwarder("back", ("b", "x/#"), "a", "x/{#}");
    let pair = [there, back];
    assert_eq!(cycles(&pair, &[]), Vec::<String>::new());
    let expected = "forwarders feed each other in a circle: there -> [b] -> back -> [a] -> there";
    assert_eq!(cycles(&pair, &["b"]), [expected]);
    assert_eq!(cycles(&pair, &["a", "b"]).len(), 1);
}

#[test]
fn circle_of_three_is_found_and_a_pipeline_is_not() {
    let one = forwarder("one", ("a", "p/+"), "b", "q/{1}");
    let two = forwarder("two", ("b", "q/+"), "c", "r/{1}");
    let open = forwarder("three", ("c", "r/+"), "a", "s/{1}");
    let closed = forwarder("three", ("c", "r/+"), "a", "p/{1}");
    assert!(cycles(&[one.clone(), two.clone(), open], &["a", "b", "c"]).is_empty());
    let found = cycles(&[one, two, closed], &["c"]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("two -> [c] -> three -> [a] -> one -> [b] -> two"), "{found:?}");
}

#[test]
fn disabled_forwarders_close_no_circle() {
    let there = forwarder("there", ("a", "x/#"), "b", "x/{#}");
    let back = ForwarderBuilder::new("back").source("b", "x/#").target("a").enabled(false);
    assert!(cycles(&[there, back.build().unwrap()], &["a", "b"]).is_empty());
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{1,2}", 1 => Just(String::new()), 3 => Just("+".to_owned())]
}

fn filter() -> impl Strategy<Value = String> {
    (prop::collection::vec(level(), 1..4), any::<bool>()).prop_map(|(levels, open)| {
        let mut filter = levels.join("/");
        if open {
            filter.push_str("/#");
        }
        filter
    })
}

fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ab/]{1,2}",
        Just("{1}".to_owned()),
        Just("{#}".to_owned()),
        Just("{topic}".to_owned())
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// What the check lets pass can never come back: no false "no".
    #[test]
    fn no_echo_escapes_the_check(
        filter in filter(),
        key in filter(),
        value in template(),
        topic in template(),
        values in prop::collection::vec("[ab]{0,2}", 3),
        rest in prop_oneof![Just(""), Just("/"), Just("/a"), Just("/b/a")],
    ) {
        prop_assume!(!filter.is_empty() && !key.is_empty());
        let mut values = values.iter();
        let levels = filter.split('/').filter(|level| *level != "#");
        let levels = levels.map(|level| if level == "+" { values.next().unwrap() } else { level });
        let mut arrived = levels.collect::<Vec<&str>>().join("/");
        if filter.ends_with('#') {
            arrived.push_str(rest);
        }
        prop_assert!(arrived.is_empty() || mqttx_proto::matches(&filter, &arrived));
        let builder = ForwarderBuilder::new("fw").source("s", &*filter);
        let target = super::super::ForwarderTarget::new("t").topic(topic).map(key, value);
        let Ok(mut options) = builder.to(target).build() else { return Ok(()) };
        let cx = TopicContext { topic: &arrived, forwarder: "fw", session: "s", received_unix_ms: 0 };
        let mut out = String::new();
        let rule = &options.targets[0];
        let template = rule.map.find(&arrived).unwrap_or_else(|| rule.fallback((0, 0)));
        if template.render(&cx, &mut out).is_ok()
            && mqttx_proto::matches(&filter, &out)
        {
            options.targets[0].session = "s".into();
            prop_assert!(!own_echoes(&options).is_empty(), "{} came back as {}", arrived, out);
        }
    }
}

#[test]
fn an_empty_rest_that_takes_its_slash_along_is_an_echo() {
    let target = super::super::ForwarderTarget::new("s").map("+/#", "{1}//{#}").topic("elsewhere");
    assert!(ForwarderBuilder::new("fw").source("s", "a/").to(target).build().is_err());
}
