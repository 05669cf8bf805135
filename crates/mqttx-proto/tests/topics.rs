//! Topic names, topic filters and matching: sections 4.7 and 4.8.

use mqttx_proto::{
    Filter, SharedFilter, Topic, TopicError, captures, has_wildcard, matches, split_shared,
    validate_filter, validate_topic,
};
use proptest::prelude::*;

#[test]
fn topic_names_follow_the_rules() {
    for good in ["a", "/", "//", "a b", "$SYS/x", "ü/😀", " ", &"x".repeat(65_535)] {
        assert_eq!(validate_topic(good), Ok(()), "{good}");
    }
    assert_eq!(validate_topic(""), Err(TopicError::Empty));
    assert_eq!(validate_topic("a\0"), Err(TopicError::Nul));
    assert_eq!(validate_topic("a/+"), Err(TopicError::Wildcard));
    assert_eq!(validate_topic("#"), Err(TopicError::Wildcard));
    assert_eq!(validate_topic("a#b"), Err(TopicError::Wildcard));
    assert_eq!(validate_topic(&"x".repeat(65_536)), Err(TopicError::TooLong(65_536)));
}

#[test]
fn filters_follow_the_rules() {
    for good in [
        "#",
        "+",
        "a/#",
        "+/+",
        "/+",
        "+/a/#",
        "a//b",
        "/",
        "$SYS/#",
        "$share",
        "$shared/+",
        "a b/+",
        "$share/g/a",
        "$share/g/#",
        "$share/g//",
        "$share/ü/+/x",
    ] {
        assert_eq!(validate_filter(good), Ok(()), "{good}");
    }
    for (bad, error) in [
        ("", TopicError::Empty),
        ("a\0", TopicError::Nul),
        ("#/a", TopicError::MultiLevel),
        ("a#", TopicError::MultiLevel),
        ("a/#b", TopicError::MultiLevel),
        ("a/#/", TopicError::MultiLevel),
        ("##", TopicError::MultiLevel),
        ("a+", TopicError::SingleLevel),
        ("+a/b", TopicError::SingleLevel),
        ("a/++", TopicError::SingleLevel),
        ("+#", TopicError::MultiLevel),
        ("$share/", TopicError::ShareName),
        ("$share//a", TopicError::ShareName),
        ("$share/+/a", TopicError::ShareName),
        ("$share/g#/a", TopicError::ShareName),
        ("$share/g", TopicError::ShareFilter),
        ("$share/g/", TopicError::ShareFilter),
        ("$share/g/a#", TopicError::MultiLevel),
    ] {
        assert_eq!(validate_filter(bad), Err(error), "{bad}");
    }
    assert_eq!(validate_filter(&"x".repeat(65_536)), Err(TopicError::TooLong(65_536)));
}

#[test]
fn filters_match_as_the_specification_says() {
    for (filter, topic, expected) in [
        // 4.7.1.2
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "anything/at/all", true),
        ("sport/tennis/player1/#", "sport/tennis/player2", false),
        // 4.7.1.3
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "x/tennis", true),
        ("sport/+/player1", "sport/tennis/player1", true),
        // 4.7.2
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        // 4.7.3: case, spaces and slashes count
        ("ACCOUNTS", "Accounts", false),
        ("/a", "a", false),
        ("a/", "a", false),
        ("a", "a/", false),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("a/bc", "a/b", false),
        ("#", "/", true),
        ("+/#", "a", true),
        ("a/+/#", "a", false),
        // 4.8.2
        ("$share/g/a/+", "a/b", true),
        ("$share/g/#", "$SYS/x", false),
        ("$share/g/a", "$share/g/a", false),
    ] {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        assert_eq!(Filter::new(filter).unwrap().matches(topic), expected);
        assert_eq!(captures(filter, topic, &mut Vec::new()), expected);
    }
}

#[test]
fn captures_are_what_each_wildcard_stood_for() {
    let of = |filter, topic| {
        let mut out = vec!["left over"];
        captures(filter, topic, &mut out).then_some(out)
    };
    assert_eq!(of("sensors/+/temp", "sensors/7/temp"), Some(vec!["7"]));
    assert_eq!(of("+/x/+", "a/x/b"), Some(vec!["a", "b"]));
    assert_eq!(of("a/+/#", "a/b/c/d"), Some(vec!["b", "c/d"]));
    assert_eq!(of("a/#", "a"), Some(vec![""]));
    assert_eq!(of("a/#", "a/"), Some(vec![""]));
    assert_eq!(of("#", "/"), Some(vec!["/"]));
    assert_eq!(of("a//+", "a//"), Some(vec![""]));
    assert_eq!(of("a/b", "a/b"), Some(vec![]));
    assert_eq!(of("$share/g/+/b", "a/b"), Some(vec!["a"]));
    let mut out = vec!["left over"];
    assert!(!captures("+/+/x", "a/b/c", &mut out));
    assert!(out.is_empty(), "a topic that does not match leaves no captures");
}

#[test]
fn shared_filters_are_taken_apart() {
    let shared = SharedFilter { group: "g", filter: "a/b" };
    assert_eq!(split_shared("$share/g/a/b"), Some(shared));
    assert_eq!(split_shared("$share/g"), None);
    assert_eq!(split_shared("$SHARE/g/a"), None);
    assert_eq!(split_shared("a/b"), None);
    assert!(has_wildcard("a/+") && has_wildcard("#") && !has_wildcard("a/b"));
}

#[test]
fn checked_texts_behave_like_text() {
    let topic = Topic::new("a/b").unwrap();
    assert_eq!(topic, "a/b");
    assert_eq!(topic.len(), 3);
    assert_eq!(format!("{topic:>5}"), "  a/b");
    assert_eq!("a/+".parse::<Topic>(), Err(TopicError::Wildcard));
    assert_eq!(Filter::try_from("a/+".to_owned()).unwrap().as_str(), "a/+");
}

/// Matching, said as directly as possible: the oracle for the fast one.
fn matches_slowly(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => matches_slowly(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) if level == name => {
            matches_slowly(filter, topic)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(
        filter in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+"]), 1..5),
        tail in any::<bool>(),
        topic in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 1..5),
    ) {
        let mut filter = filter;
        if tail {
            filter.push("#");
        }
        prop_assume!(topic != [""] && filter != [""]);
        let expected = matches_slowly(&filter, &topic);
        prop_assert_eq!(matches(&filter.join("/"), &topic.join("/")), expected);
    }

    /// Putting the captures back in place of the wildcards gives the topic again.
    #[test]
    fn captures_put_back_give_the_topic(
        levels in prop::collection::vec(("[a-c]{0,2}", any::<bool>()), 1..6),
        rest in prop::option::of("[a-c]{1,2}(/[a-c]{0,2}){0,2}"),
    ) {
        let mut filter: Vec<&str> = vec![];
        let mut topic: Vec<&str> = vec![];
        for (name, wild) in &levels {
            filter.push(if *wild { "+" } else { name });
            topic.push(name);
        }
        if let Some(rest) = &rest {
            filter.push("#");
            topic.push(rest);
        }
        let filter = filter.join("/");
        let topic = topic.join("/");
        let mut out = vec![];
        prop_assert!(captures(&filter, &topic, &mut out));
        let mut captured = out.into_iter();
        let back: Vec<&str> = filter
            .split('/')
            .map(|level| if matches!(level, "+" | "#") { captured.next().unwrap() } else { level })
            .collect();
        prop_assert_eq!(back.join("/"), topic.as_str());
        prop_assert_eq!(captured.next(), None);
    }

    #[test]
    fn no_text_makes_the_checks_panic(filter in ".{0,40}", topic in ".{0,40}") {
        let _ = validate_topic(&topic);
        let _ = matches(&filter, &topic);
        prop_assert_eq!(validate_filter(&filter).is_ok(), Filter::new(filter.as_str()).is_ok());
    }
}
