//! Topic names and filters.

use std::hint::black_box;

use mqttx_proto::{FilterTree, matches, validate_topic};

use crate::codec::TOPIC;

pub(crate) fn validate(times: usize) {
    for _ in 0..times {
        black_box(validate_topic(black_box(TOPIC))).unwrap();
    }
}

pub(crate) fn match_exact(times: usize) {
    match_one(TOPIC, times);
}

pub(crate) fn match_wildcards(times: usize) {
    match_one("site/+/+/#", times);
}

fn match_one(filter: &str, times: usize) {
    for _ in 0..times {
        assert!(matches(black_box(filter), black_box(TOPIC)));
    }
}

/// Three filters of ten thousand match: one without wildcard, one with `+`, one with `#`.
pub(crate) fn match_many(times: usize) {
    let mut tree = FilterTree::new();
    let lines =
        (0..50).flat_map(|hall| (0..100).map(move |line| format!("site/hall{hall}/line{line}")));
    for (value, line) in (0_u32..).zip(lines) {
        let filter = match value % 2 {
            0 => format!("{line}/temperature"),
            _ => format!("{line}/#"),
        };
        tree.insert(&filter, value);
        tree.insert(&format!("site/+/line{value}/temperature"), value);
    }
    tree.insert("site/hall7/line3/temperature", 0);
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        black_box(&tree).matches(black_box(TOPIC), &mut out);
        assert_eq!(black_box(&out).len(), 3);
    }
}
