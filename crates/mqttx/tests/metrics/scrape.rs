//! The texts: what is in them, for few sessions and for many.

use std::time::Instant;

use mqttx::{
    ConfigMetrics, Detail, ForwarderBuilder, ForwarderManager, JsonExporter, MemoryStore,
    PrometheusExporter, SessionManager,
};

use super::{offline, read, shown};

/// The names that dashboards rely on.
const PROMISED: [&str; 17] = [
    "mqtt_session_messages_sent_total",
    "mqtt_session_messages_received_total",
    "mqtt_session_bytes_sent_total",
    "mqtt_session_bytes_received_total",
    "mqtt_session_message_rate",
    "mqtt_session_avg_message_rate",
    "mqtt_session_bytes_rate",
    "mqtt_session_connected",
    "mqtt_session_status",
    "mqtt_session_subscriptions",
    "mqtt_session_errors_total",
    "mqtt_session_reconnects_total",
    "mqtt_session_last_message_timestamp_seconds",
    "mqtt_session_last_error_timestamp_seconds",
    "mqtt_session_persistent",
    "mqtt_session_clean_session",
    "mqtt_session_auto_reconnect",
];

#[tokio::test]
async fn every_series_of_a_session_is_there_from_its_start() {
    let manager = SessionManager::new();
    manager.add_session(offline("plant")).unwrap();
    let now = shown(&manager);
    for name in PROMISED {
        let value = now.value(name, &[("session", "plant")]).unwrap_or_else(|| panic!("{name}"));
        let expected = match name {
            "mqtt_session_persistent" | "mqtt_session_auto_reconnect" => 1.0,
            _ => 0.0,
        };
        assert_eq!(value, expected, "{name}");
    }
    for name in now.names() {
        let prefixes = ["mqtt_", "mqttx_", "process_"];
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
    assert_eq!(now.value("mqtt_sessions", &[("status", "stopped")]), Some(1.0));
}

#[tokio::test]
async fn any_name_comes_back_as_it_was() {
    let manager = SessionManager::new();
    let names = ["plain", "quo\"te", "back\\slash", "line\nfeed", "ünï cödé", "a}b{c,d=e", "\\n"];
    for name in names {
        manager.add_session(offline(name)).unwrap();
    }
    let now = shown(&manager);
    for name in names {
        assert_eq!(now.value("mqtt_session_status", &[("session", name)]), Some(0.0), "{name:?}");
    }
    let text = JsonExporter::new("mqtt").export(&manager.snapshot());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let families = json["metrics"].as_array().unwrap();
    let status = families.iter().find(|f| f["name"] == "mqtt_session_status").unwrap();
    let samples = status["samples"].as_array().unwrap();
    for name in names {
        assert!(samples.iter().any(|sample| sample["labels"]["session"] == name), "{name:?}");
    }
}

#[tokio::test]
async fn forwarders_stores_process_and_configuration_are_shown() {
    let manager = SessionManager::new();
    manager.add_session(offline("a")).unwrap();
    manager.add_session(offline("b")).unwrap();
    let forwarders = ForwarderManager::new(&manager);
    let rule = ForwarderBuilder::new("fw\"1").source("a", "x/#").target("b").topic("y/{#}");
    forwarders.add_forwarder(rule.build().unwrap()).unwrap();
    let loaded = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
    let snapshot = manager
        .snapshot()
        .with_forwarders(&forwarders)
        .with_store("mem", &MemoryStore::new())
        .with_process()
        .with_config(ConfigMetrics { successful: true, loaded });
    let now = read(&snapshot);
    let forwarder = [("forwarder", "fw\"1")];
    for name in
        ["received", "forwarded", "filtered", "dead_lettered", "metadata_left_out", "failovers"]
    {
        let name = format!("mqtt_forwarder_{name}_total");
        assert_eq!(now.value(&name, &forwarder), Some(0.0), "{name}");
    }
    assert_eq!(now.sum("mqtt_forwarder_dropped_total", &forwarder), 0.0);
    assert!(now.samples("mqtt_forwarder_dropped_total").all(|s| s.labels.contains_key("reason")));
    assert_eq!(now.value("mqtt_forwarder_running", &forwarder), Some(1.0));
    assert_eq!(now.value("mqtt_forwarder_in_flight", &forwarder), Some(0.0));
    assert_eq!(now.value("mqtt_forwarder_latency_seconds_count", &forwarder), Some(0.0));
    let store = [("store", "mem"), ("kind", "memory")];
    assert_eq!(now.value("mqtt_store_available", &store), Some(1.0));
    assert_eq!(now.value("mqttx_config_last_reload_successful", &[]), Some(1.0));
    let loaded = now.value("mqttx_config_last_reload_success_timestamp_seconds", &[]);
    assert_eq!(loaded, Some(5.0));
    assert!(now.value("process_cpu_seconds_total", &[]).is_some());
    let drops: Vec<_> = now.names().into_iter().filter(|name| name.contains("drop")).collect();
    assert_eq!(drops, ["mqtt_forwarder_dropped_total"]);
}

#[tokio::test]
async fn many_sessions_are_shown_as_one_or_by_choice() {
    let manager = SessionManager::new();
    for n in 0..5 {
        manager.add_session(offline(&format!("dev-{n}"))).unwrap();
    }
    let sum = read(&manager.snapshot_of(&Detail::UpTo(4)));
    for name in PROMISED {
        let samples: Vec<_> = sum.samples(name).collect();
        assert_eq!(samples.len(), 1, "{name}");
        assert!(samples[0].labels.is_empty(), "{name}");
    }
    assert_eq!(sum.value("mqtt_session_persistent", &[]), Some(5.0));
    assert_eq!(sum.value("mqtt_sessions", &[("status", "stopped")]), Some(5.0));
    assert!(
        sum.families.iter().flat_map(|f| &f.samples).all(|s| !s.labels.contains_key("session"))
    );
    let each = read(&manager.snapshot_of(&Detail::UpTo(5)));
    assert_eq!(each.samples("mqtt_session_status").count(), 5);
    let wants = |name: &str| name.ends_with('3');
    let some = read(&manager.snapshot_of(&Detail::Matching(&wants)));
    assert_eq!(some.samples("mqtt_session_status").count(), 1);
    assert_eq!(some.value("mqtt_session_status", &[("session", "dev-3")]), Some(0.0));
    assert_eq!(some.value("mqtt_sessions", &[("status", "stopped")]), Some(5.0), "of all");
}

#[tokio::test]
async fn another_prefix_renames_what_is_ours() {
    let manager = SessionManager::new();
    manager.add_session(offline("s")).unwrap();
    let text = PrometheusExporter::new("edge").export(&manager.snapshot().with_process());
    let found = mqttx_test::Exposition::parse_prometheus(&text).unwrap();
    assert!(found.value("edge_session_status", &[("session", "s")]).is_some());
    assert!(found.value("process_open_fds", &[]).is_some());
    assert!(found.names().iter().all(|name| !name.starts_with("mqtt_")));
}

#[tokio::test]
async fn ten_thousand_sessions_come_in_pieces_that_fit_together() {
    const SESSIONS: usize = 10_000;
    let manager = SessionManager::new();
    for n in 0..SESSIONS {
        manager.add_session(offline(&format!("dev-{n:05}"))).unwrap();
    }
    let begun = Instant::now();
    let snapshot = manager.snapshot();
    let taken = begun.elapsed();
    let pieces: Vec<String> = PrometheusExporter::new("mqtt").chunks(snapshot).collect();
    let (largest, bytes) =
        (pieces.iter().map(String::len).max(), pieces.iter().map(String::len).sum::<usize>());
    println!("taken in {taken:?}, written in {:?}: {bytes} bytes", begun.elapsed() - taken);
    assert!(largest < Some(64 << 10), "{largest:?}");
    let found = mqttx_test::Exposition::parse_prometheus(&pieces.concat()).unwrap();
    for name in PROMISED {
        assert_eq!(found.samples(name).count(), SESSIONS, "{name}");
    }
    assert_eq!(found.value("mqtt_sessions", &[("status", "stopped")]), Some(SESSIONS as f64));
}
