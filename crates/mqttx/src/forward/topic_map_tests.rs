use super::*;

fn render(map: &TopicMap, topic: &str) -> Option<Result<String, RenderError>> {
    let cx = TopicContext {
        topic,
        forwarder: "telemetry",
        session: "plant",
        received_unix_ms: 1_700_000_000_123,
    };
    let mut out = "leftover".to_owned();
    map.render(&cx, &mut out).map(|done| done.map(|()| out))
}

/// Renders `to` for a message that came through `from` as `topic`.
fn one(from: &str, to: &str, topic: &str) -> Result<String, RenderError> {
    let map = TopicMap::new([(from, to)]).unwrap();
    render(&map, topic).expect("the entry matches")
}

#[test]
fn captures_and_names_are_put_in() {
    for (from, to, topic, expected) in [
        ("a/b", "c/d", "a/b", "c/d"),
        ("sensors/+/temperature", "site/{1}/temp", "sensors/x/temperature", "site/x/temp"),
        ("line/+/sensor/+/#", "s/l{1}/{2}/{#}", "line/7/sensor/9/raw/x", "s/l7/9/raw/x"),
        ("+/+/+", "{3}/{1}/{2}/{1}", "a/b/c", "c/a/b/a"),
        ("#", "in/{#}", "a/b", "in/a/b"),
        ("#", "in/{topic}", "a/b", "in/a/b"),
        ("a/#", "{#}", "a/b", "b"),
        ("a/+", "x-{1}-y", "a/b", "x-b-y"),
        ("a/+", "x/{1}", "a/", "x/"),
        ("+/a", "x{1}y", "/a", "xy"),
        ("a/+", "{forwarder}/{session}/{1}", "a/b", "telemetry/plant/b"),
        ("a/+", "{1}/{received_unix_ms}", "a/b", "b/1700000000123"),
        ("a/+", "{{{1}}}", "a/b", "{b}"),
        ("a/+", "{{1}}", "a/b", "{1}"),
    ] {
        assert_eq!(one(from, to, topic).as_deref(), Ok(expected), "{from} -> {to}: {topic}");
    }
}

#[test]
fn empty_rest_takes_the_slash_before_it_along() {
    for (to, topic, expected) in [
        ("b/{#}", "a", "b"),
        ("b/{#}", "a/", "b"),
        ("b/{#}", "a/c", "b/c"),
        ("b/{#}", "a/c/", "b/c/"),
        ("b/{#}", "a//c", "b//c"),
        ("b/{#}/c", "a", "b/c"),
        ("b{#}", "a", "b"),
        ("b//{#}", "a", "b/"),
        ("{topic}/{#}", "a", "a"),
    ] {
        assert_eq!(one("a/#", to, topic).as_deref(), Ok(expected), "{to}: {topic}");
    }
}

#[test]
fn values_are_data_and_never_expanded() {
    assert_eq!(one("a/+", "b/{1}", "a/{topic}").as_deref(), Ok("b/{topic}"));
    assert_eq!(one("a/#", "b/{#}", "a/{1}/{{").as_deref(), Ok("b/{1}/{{"));
}

#[test]
fn unusable_rendered_topics_are_errors() {
    assert_eq!(one("a/#", "{#}", "a"), Err(RenderError::Empty));
    assert_eq!(one("a/+", "{1}", "a/"), Err(RenderError::Empty));
    let long = format!("a/{}", "x".repeat(65_533));
    assert_eq!(one("a/+", "bc/{1}", &long), Err(RenderError::TooLong(65_536)));
    assert_eq!(one("a/+", "b/{1}", &long).map(|topic| topic.len()), Ok(65_535));
    let map = TopicMap::new([("a", "x/{session}")]).unwrap();
    let cx = TopicContext { topic: "a", forwarder: "f", session: "s+1", received_unix_ms: 0 };
    let result = map.render(&cx, &mut String::new());
    assert_eq!(result, Some(Err(RenderError::Forbidden('+'))));
}

#[test]
fn exact_entries_come_first_then_the_most_specific_wildcard() {
    // Each entry renders to its own place in the list; every prefix order must give the same winner.
    let entries =
        ["a/b/c", "a/b/+", "a/b/#", "a/+/c", "a/+/+", "a/+/#", "a/#", "+/b/c", "+/#", "#"];
    for turn in 0..entries.len() {
        let mut order = entries.to_vec();
        order.rotate_left(turn);
        let map = TopicMap::new(order.iter().map(|e| (e, e.replace(['+', '#'], "*")))).unwrap();
        for (topic, winner) in [
            ("a/b/c", "a/b/c"),
            ("a/b/d", "a/b/+"),
            ("a/b", "a/b/#"),
            ("a/b/d/e", "a/b/#"),
            ("a/x/c", "a/+/c"),
            ("a/x/y", "a/+/+"),
            ("a/x", "a/+/#"),
            ("a/x/c/d", "a/+/#"),
            ("a", "a/#"),
            ("x/b/c", "+/b/c"),
            ("x/b/d", "+/#"),
            ("x", "+/#"),
            ("/", "+/#"),
        ] {
            let expected = winner.replace(['+', '#'], "*");
            assert_eq!(render(&map, topic), Some(Ok(expected)), "{topic} with {order:?}");
        }
    }
}

#[test]
fn search_goes_back_when_the_literal_branch_ends() {
    let map = TopicMap::new([("a/b/c", "1"), ("a/+/d", "2"), ("+/b/e", "3")]).unwrap();
    assert_eq!(render(&map, "a/b/d"), Some(Ok("2".to_owned())));
    assert_eq!(render(&map, "a/b/e"), Some(Ok("3".to_owned())));
    assert_eq!(render(&map, "a/b/f"), None);
    assert_eq!(render(&map, "a/b"), None);
}

#[test]
fn leading_wildcards_leave_system_topics_alone() {
    let map = TopicMap::new([("#", "1"), ("+/x", "2"), ("$SYS/#", "3/{#}")]).unwrap();
    assert_eq!(render(&map, "$SYS/x"), Some(Ok("3/x".to_owned())));
    assert_eq!(render(&map, "$other/x"), None);
    assert_eq!(render(&map, "a/$x"), Some(Ok("1".to_owned())));
}

#[test]
fn every_bad_entry_is_reported() {
    let errors = TopicMap::new([
        ("a/#/b", "x"),
        ("a/+", "{2}"),
        ("a/+", "{#}"),
        ("a", "{1}"),
        ("b", "{what}"),
        ("c", "{1"),
        ("d", "1}"),
        ("e", "x/#"),
        ("f", ""),
        ("g", "{0}"),
        ("h", "{}"),
        ("i", "{70000}"),
        ("$share/g/a", "x"),
        ("ok", "x"),
        ("ok", "y"),
        ("", "x"),
    ])
    .unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 15, "{texts:#?}");
    for (text, part) in texts.iter().zip([
        "a/#/b",
        "has only one '+'",
        "needs a '#'",
        "needs a '+'",
        "unknown placeholder {what}",
        "without '}'",
        "without '{'",
        "'#'",
        "empty",
        "counted from 1",
        "unknown placeholder {}",
        "counted from 1",
        "$share",
        "twice",
        "",
    ]) {
        assert!(text.contains(part), "{text} should say {part}");
    }
    assert_eq!(errors[1].entry(), Some("a/+"));
    assert_eq!(errors[1].value(), "{2}");
    assert_eq!(errors[0].entry(), None);
}

#[test]
fn shared_subscription_counts_captures_in_its_filter() {
    let template = TopicTemplate::parse("x/{1}/{#}").unwrap();
    assert!(template.check("$share/g/a/+/#").is_ok());
    assert!(template.check("$share/+/a/#").is_err());
    let bound = template.bind("$share/g/a/+/#").unwrap();
    let cx = TopicContext { topic: "a/b/c", forwarder: "", session: "", received_unix_ms: 0 };
    let mut out = String::new();
    assert_eq!(bound.render(&cx, &mut out), Ok(()));
    assert_eq!(out, "x/b/c");
}

#[test]
fn templates_know_whether_they_read_the_clock() {
    assert!(TopicMap::new([("a", "b/{received_unix_ms}")]).unwrap().uses_time());
    assert!(!TopicMap::new([("a", "b/{topic}")]).unwrap().uses_time());
}

fn filters() -> impl proptest::strategy::Strategy<Value = Vec<String>> {
    use proptest::prelude::*;
    let level = prop_oneof![2 => "[ab]", 1 => Just("+".to_owned()), 1 => Just(String::new())];
    let filter = (prop::collection::vec(level, 1..4), any::<bool>());
    let filter = filter.prop_map(|(levels, open)| levels.join("/") + if open { "/#" } else { "" });
    prop::collection::btree_set(filter.prop_filter("not empty", |f| !f.is_empty()), 1..12)
        .prop_map(|set| set.into_iter().collect())
}

proptest::proptest! {
    /// The trie finds what comparing all entries finds: a match that no other match is inside of.
    #[test]
    fn the_entry_found_is_the_most_specific_one(
        filters in filters(),
        topic in "[ab]?(/[ab]?){0,3}",
    ) {
        proptest::prop_assume!(!topic.is_empty());
        let entries = filters.iter().enumerate().map(|(n, filter)| (filter, format!("n{n}")));
        let map = TopicMap::new(entries).unwrap();
        let found = render(&map, &topic).map(|rendered| rendered.unwrap());
        let mut best: Vec<(Vec<u8>, usize)> = filters
            .iter()
            .enumerate()
            .filter(|(_, filter)| mqttx_proto::matches(filter, &topic))
            .map(|(n, filter)| (rank(filter), n))
            .collect();
        best.sort();
        proptest::prop_assert_eq!(found, best.first().map(|(_, n)| format!("n{n}")));
    }
}

/// Orders filters that match one topic: literal levels (and the end) before `+` before `#`.
fn rank(filter: &str) -> Vec<u8> {
    let level = |level| match level {
        "+" => 1,
        "#" => 2,
        _ => 0,
    };
    let mut rank: Vec<u8> = filter.split('/').map(level).collect();
    rank.resize(8, 0);
    rank
}
