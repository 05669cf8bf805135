use super::*;
use proptest::prelude::*;

fn found(tree: &FilterTree<&'static str>, topic: &str) -> Vec<&'static str> {
    let mut out = Vec::new();
    tree.matches(topic, &mut out);
    out.sort_unstable();
    out
}

fn tree(filters: &[&'static str]) -> FilterTree<&'static str> {
    let mut tree = FilterTree::default();
    for filter in filters {
        tree.insert(filter, *filter);
    }
    tree
}

#[test]
fn wildcards_match_as_the_specification_says() {
    let tree = tree(&["#", "+", "a/#", "a/+", "a/b", "+/b", "/+", "+/+", "a/b/c", "a//c"]);
    assert_eq!(found(&tree, "a"), ["#", "+", "a/#"]);
    assert_eq!(found(&tree, "a/b"), ["#", "+/+", "+/b", "a/#", "a/+", "a/b"]);
    assert_eq!(found(&tree, "a/b/c"), ["#", "a/#", "a/b/c"]);
    assert_eq!(found(&tree, "a//c"), ["#", "a/#", "a//c"]);
    assert_eq!(found(&tree, "/finance"), ["#", "+/+", "/+"]);
    assert_eq!(found(&tree, "a/"), ["#", "+/+", "a/#", "a/+"]);
}

#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    let tree = tree(&["#", "+/monitor", "$SYS/#", "$SYS/monitor", "$SYS/+"]);
    assert_eq!(found(&tree, "$SYS/monitor"), ["$SYS/#", "$SYS/+", "$SYS/monitor"]);
    assert_eq!(found(&tree, "$SYS"), ["$SYS/#"]);
    assert_eq!(found(&tree, "a/$SYS"), ["#"]);
}

#[test]
fn shared_filter_matches_what_its_inner_filter_matches() {
    let mut tree = tree(&["$share/workers/jobs/+", "jobs/1"]);
    assert_eq!(found(&tree, "jobs/1"), ["$share/workers/jobs/+", "jobs/1"]);
    assert!(tree.remove("$share/workers/jobs/+", |_| true).is_some());
    assert_eq!(found(&tree, "jobs/1"), ["jobs/1"]);
}

#[test]
fn removing_the_last_filter_leaves_no_nodes() {
    let mut tree = tree(&["a/b/c", "a/+/c", "a/#", "a/b"]);
    for filter in ["a/b/c", "a/+/c", "a/#"] {
        assert_eq!(tree.remove(filter, |v| *v == filter), Some(filter));
        assert_eq!(tree.remove(filter, |_| true), None, "{filter} is removed once");
    }
    assert_eq!(found(&tree, "a/b"), ["a/b"]);
    assert_eq!(tree.remove("a/b", |_| true), Some("a/b"));
    assert!(tree.is_empty());
}

/// Whoever opens and stops routes for ever does not fill the memory.
#[test]
fn places_of_removed_filters_are_used_again() {
    let mut tree = tree(&["kept/+/x"]);
    let mut largest = 0;
    for round in 0..1000 {
        let filters: Vec<String> = (0..5).map(|n| format!("a/{round}/+/{n}")).collect();
        filters.iter().for_each(|filter| tree.insert(filter, "passing"));
        assert_eq!(found(&tree, &format!("a/{round}/b/3")), ["passing"]);
        for filter in &filters {
            assert_eq!(tree.remove(filter, |_| true), Some("passing"));
        }
        if round == 0 {
            largest = tree.nodes.len();
        }
    }
    assert_eq!(tree.nodes.len(), largest);
    assert_eq!((tree.children.len(), tree.names.numbers.len()), (2, 2));
    assert!(tree.names.free.len() < 10, "{:?}", tree.names);
    assert_eq!(found(&tree, "kept/y/x"), ["kept/+/x"]);
}

#[test]
fn topic_with_more_levels_than_are_kept_is_matched() {
    let topic = vec!["l"; 40].join("/");
    let (filter, other) = (topic.replacen("l/l/l", "l/+/l", 9), topic.replace('l', "+"));
    let mut tree = FilterTree::new();
    tree.insert(&filter, "some");
    tree.insert(&other, "all");
    tree.insert(&topic, "exact");
    tree.insert(&format!("{topic}/m"), "longer");
    assert_eq!(found(&tree, &topic), ["all", "exact", "some"]);
}

#[test]
fn values_of_one_filter_are_kept_apart() {
    let mut tree = FilterTree::default();
    tree.insert("a", 1);
    tree.insert("a", 2);
    tree.insert("a", 3);
    assert_eq!(tree.remove("a", |v| *v == 2), Some(2));
    let mut out = Vec::new();
    tree.matches("a", &mut out);
    assert_eq!(out, [1, 3]);
}

#[test]
fn topics_are_alike_where_nobody_looked() {
    let long = "1/2/3/4/5/6/7/8/9";
    for (filters, topic, alike, others) in [
        (&["#"][..], "a/b", &["a", "c/d/e", ""][..], &["$SYS/a"][..]),
        (&["a/#"], "a/b", &["a/c", "a/", "a/c/d"], &["a", "ab", "b/b", "$a/b"]),
        (&["a/#"], "a", &[], &["a/b", "ab"]),
        (&["+/b"], "a/b", &["c/b", "/b"], &["a/c", "a/b/c", "a", "$SYS/b"]),
        (&["a/+/c/+/e"], "a/1/c/2/e", &["a/9/c/8/e", "a//c//e"], &["a/1/c/2", "a/1/d/2/e"]),
        (&["a/+"], "a/b", &["a/c", "a/"], &["a/b/c", "a", "b/b"]),
        // Something else matches one of them.
        (&["a/#", "a/b/c"], "a/b/c", &[], &["a/b/d", "a/b", "a/d/c"]),
        (&["a/#", "a/b/c"], "a/x/c", &["a/x/d"], &["a/b/c", "a/y/c", "a/x"]),
        (&["$SYS/#"], "$SYS/a", &["$SYS/b/c"], &["$SYS", "a/b"]),
        // Nothing matches it.
        (&["a/b"], "x/y", &["x/z", "x/z/a"], &["x", "y/y"]),
        (&["+/+/+/+/+/+/+/+/#"], long, &["9/2/3/4/5/6/7/8/9/10"], &["1/2/3/4/5/6/7/8", "1"]),
        (&["+/+/+/+/+/+/+/+/+"], long, &[], &["9/2/3/4/5/6/7/8/9", "1/2"]),
    ] {
        let found = tree(filters).matches(topic, &mut Vec::new());
        assert!(found.covers(topic, topic), "{filters:?} {topic}");
        for other in alike {
            assert!(found.covers(topic, other), "{filters:?} {topic} {other}: {found:?}");
        }
        for other in others {
            assert!(!found.covers(topic, other), "{filters:?} {topic} {other}: {found:?}");
        }
    }
}

fn levels(wildcards: bool) -> impl Strategy<Value = String> {
    let level = if wildcards { "a|b|ab|\\+||\\$x" } else { "a|b|ab||\\$x" };
    prop::collection::vec(level, 1..5).prop_map(|levels| levels.join("/"))
}

fn filters() -> impl Strategy<Value = String> {
    (levels(true), any::<bool>()).prop_map(|(levels, rest)| match (levels.as_str(), rest) {
        ("", _) => "#".to_owned(),
        (levels, true) => format!("{levels}/#"),
        (levels, false) => levels.to_owned(),
    })
}

/// Up to a dozen levels, most of which are the same.
fn deep(level: &'static str, filters: bool) -> impl Strategy<Value = String> {
    (prop::collection::vec(level, 6..12), any::<bool>()).prop_map(move |(levels, rest)| {
        let levels = levels.join("/");
        if filters && rest { levels + "/#" } else { levels }
    })
}

/// The definition, level by level, sharing nothing with the tree.
fn naive(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let (filter, topic): (Vec<_>, Vec<_>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (i, level) in filter.iter().enumerate() {
        match (*level, topic.get(i)) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == *name => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// A tree with `all` filters but those that are `gone` finds what the definition says, and what counts as alike finds the same.
fn compare(
    all: Vec<String>,
    gone: Vec<prop::sample::Index>,
    topics: &[String],
) -> Result<(), TestCaseError> {
    let mut tree = FilterTree::default();
    let mut kept: Vec<(usize, String)> = all.into_iter().enumerate().collect();
    for (value, filter) in &kept {
        tree.insert(filter, *value);
    }
    for index in gone {
        if !kept.is_empty() {
            let (value, filter) = kept.swap_remove(index.index(kept.len()));
            prop_assert_eq!(tree.remove(&filter, |v| *v == value), Some(value));
        }
    }
    let mut values = 0;
    tree.for_each(|_| values += 1);
    prop_assert_eq!(values, kept.len());
    for topic in topics.iter().filter(|t| !t.is_empty()) {
        let mut found = Vec::new();
        let alike = tree.matches(topic, &mut found);
        found.sort_unstable();
        prop_assert!(alike.covers(topic, topic), "{} {:?}", topic, alike);
        for other in topics.iter().filter(|other| alike.covers(topic, other)) {
            let mut same = Vec::new();
            tree.matches(other, &mut same);
            same.sort_unstable();
            prop_assert_eq!(&same, &found, "{} {:?} {}", topic, alike, other);
        }
        for (_, filter) in kept.iter().filter(|(_, filter)| naive(filter, topic)) {
            let alike = Likeness::through(filter, topic);
            prop_assert!(alike.covers(topic, topic), "{} {} {:?}", filter, topic, alike);
            for other in topics.iter().filter(|other| alike.covers(topic, other)) {
                prop_assert!(naive(filter, other), "{} {} {}", filter, topic, other);
            }
        }
        let mut expected: Vec<usize> =
            kept.iter().filter(|(_, f)| naive(f, topic)).map(|(value, _)| *value).collect();
        expected.sort_unstable();
        prop_assert_eq!(found, expected, "topic {}", topic);
    }
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_a_naive_matcher(
        all in prop::collection::vec(filters(), 0..40),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        topics in prop::collection::vec(levels(false), 1..20),
    ) {
        compare(all, gone, &topics)?;
    }

    /// Around the number of levels that are kept.
    #[test]
    fn agrees_with_a_naive_matcher_on_deep_topics(
        all in prop::collection::vec(deep("a|a|a|a|b|\\+|\\+|\\+", true), 0..12),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        topics in prop::collection::vec(deep("a|a|a|a|a|a|a|b|", false), 1..30),
    ) {
        compare(all, gone, &topics)?;
    }
}
