//! Which of 100 000 filters match a topic: `cargo bench -p mqttx --bench matching`.
//!
//! Filters and topics are those of a hundred plants with fifty lines of a few devices each. What is compared with is a look at
//! every filter, in the same run.

use std::hint::black_box;
use std::time::Instant;

use mqttx::proto::{FilterTree, matches};

const PLANTS: usize = 100;
const LINES: usize = 50;
const DEVICES: usize = 12;
const MEASURES: [&str; 6] = ["temperature", "pressure", "speed", "power", "state", "alarm"];

/// Topics that are looked up in one round, and rounds.
const TOPICS: usize = 100_000;
const ROUNDS: usize = 10;
/// What a look at every filter is asked for; it takes a thousand times as long.
const NAIVE_TOPICS: usize = 100;
/// No match may take longer on average, in nanoseconds.
const BOUND: f64 = 1000.0;

fn main() {
    let (mut slowest, text) = (0.0_f64, topics());
    let topics: Vec<&str> = text.lines().collect();
    println!("{:<28} {:>9} {:>12} {:>12} {:>12}", "filters", "number", "found", "ns", "naive ns");
    for (name, filters) in [
        ("60 % exact, 30 % +, 10 % #", mixed()),
        ("exact", exact().take(100_000).collect()),
        ("+ at every level", plus().take(100_000).collect()),
    ] {
        let tree = tree(&filters);
        let (found, ns) = look_up(&tree, &topics);
        let naive = look_at_every_filter(&filters, &topics[..NAIVE_TOPICS]);
        println!("{name:<28} {:>9} {found:>12.2} {ns:>12.0} {naive:>12.0}", filters.len());
        slowest = slowest.max(ns);
    }
    println!("slowest {slowest:.0} ns, bound {BOUND:.0} ns: {}", verdict(slowest));
}

fn verdict(slowest: f64) -> &'static str {
    if slowest < BOUND { "kept" } else { "BROKEN" }
}

/// Filters found for a topic, and nanoseconds for that, both on average; the best round counts, since others may use the machine.
fn look_up(tree: &FilterTree<u32>, topics: &[&str]) -> (f64, f64) {
    let (mut found, mut best, mut out) = (0, f64::INFINITY, Vec::new());
    for _ in 0..ROUNDS {
        found = 0;
        let started = Instant::now();
        for topic in topics {
            out.clear();
            tree.matches(black_box(topic), &mut out);
            found += black_box(&out).len();
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    (found as f64 / topics.len() as f64, best * 1e9 / topics.len() as f64)
}

fn look_at_every_filter(filters: &[String], topics: &[&str]) -> f64 {
    let started = Instant::now();
    for topic in topics {
        black_box(filters.iter().filter(|filter| matches(filter, topic)).count());
    }
    started.elapsed().as_secs_f64() * 1e9 / topics.len() as f64
}

fn tree(filters: &[String]) -> FilterTree<u32> {
    let mut tree = FilterTree::new();
    for (value, filter) in (0..).zip(filters) {
        tree.insert(filter, value);
    }
    tree
}

fn mixed() -> Vec<String> {
    let places = || (0..PLANTS).flat_map(|plant| (0..LINES).map(move |line| (plant, line)));
    let device = places().flat_map(|(plant, line)| {
        MEASURES.map(|measure| format!("plant/{plant}/line/{line}/device/+/{measure}"))
    });
    let rest = places().flat_map(|(plant, line)| {
        [format!("plant/{plant}/line/{line}/#"), format!("plant/{plant}/line/{line}/device/#")]
    });
    exact().step_by(6).chain(device).chain(rest).collect()
}

/// Every topic.
fn exact() -> impl Iterator<Item = String> {
    let lines = (0..PLANTS).flat_map(|plant| (0..LINES).map(move |line| (plant, line)));
    lines.flat_map(|(plant, line)| {
        (0..DEVICES).flat_map(move |device| {
            MEASURES.map(|measure| format!("plant/{plant}/line/{line}/device/{device}/{measure}"))
        })
    })
}

/// Filters that send a look-up down many branches.
fn plus() -> impl Iterator<Item = String> {
    (0..PLANTS).flat_map(|plant| {
        (0..LINES).flat_map(move |line| {
            (0..DEVICES).flat_map(move |device| {
                [
                    format!("plant/{plant}/+/{line}/device/{device}/+"),
                    format!("plant/{plant}/line/{line}/+/{device}/state"),
                    format!("+/{plant}/line/{line}/+/{device}/#"),
                ]
            })
        })
    })
}

/// Topics in an order that no cache foresees; the same at every run. One lies behind the other as in a read buffer: that they have
/// to be fetched from memory is no part of a match.
fn topics() -> String {
    let mut all: Vec<String> = exact().collect();
    let mut state = 1_u64;
    for at in (1..all.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(at, (state >> 33) as usize % (at + 1));
    }
    all.truncate(TOPICS);
    all.join("\n")
}
