//! What is written about metrics elsewhere says the same as the list in the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use mqttx::{MetricFamily, MetricKind};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The table of `docs/metrics.md`.
fn table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in MetricFamily::all() {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (family.sample_name(), family.kind.name());
        writeln!(table, "| `{name}` | {kind} | {} | {} |", labels.join(" "), family.help).unwrap();
    }
    table
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    const BEGIN: &str = "<!-- table -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let path = "docs/metrics.md";
    let found = text(path);
    let (before, rest) = found.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let expected = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("MQTTX_TEST_BLESS").is_some() {
        std::fs::write(project().join(path), &expected).unwrap();
    } else {
        assert!(
            found == expected,
            "{path} is old: MQTTX_TEST_BLESS=1 cargo test -p mqttx --test metrics writes it"
        );
    }
}

/// Every name that a query may use.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for family in MetricFamily::all() {
        let name = family.sample_name();
        if family.kind == MetricKind::Histogram {
            names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        } else {
            names.insert(name);
        }
    }
    names
}

/// What looks like a metric of ours in a query.
fn used(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = ["mqtt_", "mqttx_", "process_"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn check(path: &str, queries: &[String]) {
    let names = names();
    let mut checked = 0;
    for query in queries {
        for name in used(query) {
            assert!(names.contains(name), "{path}: there is no {name} in {query}");
            checked += 1;
        }
    }
    assert!(checked >= queries.len(), "{path}: a query without a metric of ours");
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let path = "contrib/grafana/mqttx.json";
    let dashboard: serde_json::Value = serde_json::from_str(&text(path)).expect("JSON");
    let mut queries = Vec::new();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> =
        panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
    {
        queries.push(target["expr"].as_str().expect("a query").to_owned());
    }
    assert!(queries.len() >= 15, "{} queries", queries.len());
    check(path, &queries);
}

#[test]
fn the_alerts_look_at_metrics_that_exist() {
    let path = "contrib/prometheus/mqttx.rules.yml";
    let text = text(path);
    let queries: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("expr: "))
        .map(str::to_owned)
        .collect();
    let alerts = text.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
    assert_eq!(queries.len(), alerts, "each alert has its query on one line");
    assert!(alerts >= 8);
    check(path, &queries);
}
