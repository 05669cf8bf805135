//! Options from a file and from the builder; every problem at once.

use std::time::Duration;

use mqttx_proto::{Property, QoS, SessionExpiry, Version};

use super::{
    Backoff, Jitter, OnFull, OnRefusal, Outbox, Performance, Secret, SessionOptions, Will,
    core_config,
};

fn parse(text: &str) -> Result<SessionOptions, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

fn fields(options: &SessionOptions) -> Vec<String> {
    let errors = options.check().expect_err("problems");
    errors.problems().iter().map(|problem| problem.field.clone()).collect()
}

#[test]
fn a_table_of_the_configuration_file_is_the_same_struct() {
    let options = parse(
        r#"
        brokers = ["mqtt://127.0.0.1:1883", "b2.plant:8883"]
        protocol = "3.1.1"
        client_id = "gw"
        clean_start = false
        keep_alive = "30s"
        username = "gw"
        password = "secret"
        reconnect = { initial = "250ms", max = "60s", jitter = "full", stable_after = "10s" }
        on_refusal = "retry"
        receive_maximum = 64
        outbox = { messages = 5, bytes = "1MiB", on_full = "drop-oldest", ttl = "1h" }
        performance = { read_buffer = "64KiB", message_channel = 7, write_timeout = "3s" }
        will = { topic = "gone", payload = "bye", qos = 1, retain = true }
        "#,
    )
    .expect("valid");
    assert_eq!(options.brokers.len(), 2);
    assert_eq!(options.protocol, Version::V311);
    assert_eq!(options.keep_alive, Duration::from_secs(30));
    assert_eq!(options.password.as_ref().map(Secret::expose), Some(&b"secret"[..]));
    assert_eq!(
        options.reconnect,
        Backoff::new(Duration::from_millis(250), Duration::from_secs(60)).jitter(Jitter::Full)
    );
    assert_eq!(options.on_refusal, OnRefusal::Retry);
    let outbox = Outbox {
        messages: Some(5),
        bytes: Some(1 << 20),
        on_full: OnFull::DropOldest,
        ttl: Some(Duration::from_secs(3600)),
    };
    assert_eq!(options.outbox, outbox);
    assert_eq!(options.performance.read_buffer, 64 << 10);
    assert_eq!(options.performance.write_timeout, Duration::from_secs(3));
    assert_eq!(options.will, Some(Will::new("gone", "bye").qos(QoS::AtLeastOnce).retain(true)));
}

#[test]
fn unknown_keys_and_bad_values_are_errors_that_name_them() {
    for (text, part) in [
        ("borkers = []", "borkers"),
        ("protocol = \"4\"", "unknown protocol version '4'"),
        ("keep_alive = \"soon\"", "'soon' is not a duration"),
        ("session_expiry = \"-1s\"", "'-1s' is not a duration"),
        ("outbox = { bytes = \"1TiB\" }", "'1TiB' is not a size"),
        ("outbox = { on_full = \"panic\" }", "panic"),
        ("will = { topic = \"a\", qos = 3 }", "3 is not a QoS"),
        ("will = { topic = \"a\", properties = { topic-alias = 1 } }", "topic-alias"),
        ("will = { topic = \"a\", properties = { nonsense = 1 } }", "unknown property 'nonsense'"),
        ("will = { topic = \"a\", properties = { content-type = 1 } }", "text is expected"),
        ("will = { payload = \"a\" }", "topic"),
        ("receive_maximum = 65536", "65536"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn expiry_and_properties_are_read() {
    let options = parse(
        r#"
        session_expiry = "never"
        user_properties = { a = "1" }
        will = { topic = "t", delay = "5s", properties = { content-type = "x/y", user-property = [["k", "v"], ["k", "w"]] } }
        "#,
    )
    .expect("valid");
    assert_eq!(options.session_expiry, Some(SessionExpiry::NEVER));
    assert_eq!(options.user_properties, [("a".to_owned(), "1".to_owned())]);
    let will = options.will.expect("a will").wire_properties().expect("valid");
    assert_eq!(will.as_ref().content_type(), Some("x/y"));
    assert_eq!(will.as_ref().will_delay_interval(), Some(5));
    assert_eq!(will.as_ref().user_properties().count(), 2);
}

#[test]
fn every_problem_is_told_at_once() {
    let mut options = SessionOptions { protocol: Version::V311, ..SessionOptions::default() };
    options.brokers = vec!["http://x".to_owned(), "mqtt://u:secret@h:0".to_owned()];
    options.client_id = Some(String::new());
    options.clean_start = Some(false);
    options.password = Some("p".into());
    options.keep_alive = Duration::from_secs(70_000);
    options.reconnect = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
    options.outbox.messages = Some(0);
    options.receive_maximum = Some(0);
    options.performance.read_buffer = 1 << 20;
    options.session_expiry = Some(SessionExpiry::NEVER);
    options.will = Some(Will::new("a/#", vec![0; 70_000]).delay(Duration::from_secs(1)));
    options.subscriptions = vec![("a/#/b".to_owned(), QoS::AtMostOnce)];
    assert_eq!(
        fields(&options),
        [
            "name",
            "brokers[0]",
            "brokers[1]",
            "client_id",
            "password",
            "keep_alive",
            "reconnect.max",
            "outbox.messages",
            "performance.read_buffer",
            "receive_maximum",
            "will.topic",
            "will.payload",
            "will.properties",
            "session_expiry",
            "subscriptions[0]",
        ]
    );
    let text = options.check().expect_err("problems").to_string();
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("keep_alive = 70000s: 0s (off) to 65535s are allowed"), "{text}");
}

#[test]
fn a_password_needs_a_user_in_3_1_1_only() {
    let builder = SessionOptions::quick_connect("s", "h").password("p");
    builder.clone().build().expect("MQTT 5 allows it");
    let builder = builder.protocol(Version::V311);
    builder.clone().build().expect_err("MQTT 3.1.1 does not");
    builder.broker("u@h").build().expect("the user of a URL counts");
}

#[test]
fn persistence_follows_the_client_id_unless_it_is_told() {
    let options = |builder: super::SessionBuilder| builder.build().expect("valid");
    let new = || SessionOptions::quick_connect("s", "h");
    let anonymous = options(new());
    assert!(anonymous.starts_clean() && !anonymous.is_persistent());
    assert_eq!(anonymous.effective_session_expiry(), None);
    let named = options(new().client_id("c"));
    assert!(!named.starts_clean() && named.is_persistent());
    assert_eq!(named.effective_session_expiry(), Some(SessionExpiry::NEVER));
    let brief = options(new().client_id("c").session_expiry(Duration::from_millis(1500)));
    assert_eq!(brief.effective_session_expiry(), Some(SessionExpiry::from_secs(2)), "rounded up");
    let clean = options(new().client_id("c").clean_start(true));
    assert!(!clean.is_persistent());
    assert_eq!(clean.effective_session_expiry(), None);
}

#[test]
fn the_core_gets_what_was_asked_for() {
    let options = SessionOptions::quick_connect("s", "h")
        .keep_alive(Duration::from_millis(10))
        .user_property("k", "v")
        .connect_property(Property::RequestProblemInformation(0))
        .max_pending(3)
        .build()
        .expect("valid");
    let config = core_config(&options).expect("valid");
    assert_eq!(config.keep_alive.as_secs(), 1, "never turned off by rounding");
    assert_eq!(config.receive_maximum, Some(1024));
    assert!(!config.enforce_receive_maximum, "nobody asked for it");
    assert_eq!(config.outbox.messages, 3);
    assert_eq!(config.connect_properties.as_ref().user_properties().count(), 1);
    assert_eq!(config.connect_properties.as_ref().request_problem_information(), Some(0));
}

#[test]
fn limits_that_were_asked_for_are_enforced() {
    let config =
        |builder: crate::SessionBuilder| core_config(&builder.build().expect("valid")).unwrap();
    let options = || SessionOptions::quick_connect("s", "h");
    assert!(config(options().receive_maximum(10)).enforce_receive_maximum);
    assert!(config(options().receive_maximum(None)).enforce_receive_maximum);
    let lenient = options().receive_maximum(10).enforce_receive_maximum(false);
    assert!(!config(lenient).enforce_receive_maximum);
    assert_eq!(config(options()).max_in_flight_qos2, u16::MAX);
    let options = || options().protocol(Version::V311);
    assert_eq!(config(options()).max_in_flight_qos2, 20);
    assert_eq!(config(options()).max_in_flight, u16::MAX);
    let set = config(options().max_in_flight(100));
    assert_eq!((set.max_in_flight, set.max_in_flight_qos2), (100, u16::MAX));
}

#[test]
fn a_property_that_does_not_belong_into_connect_is_a_problem() {
    let errors = SessionOptions::quick_connect("s", "h")
        .connect_property(Property::ContentType("x"))
        .performance(Performance { message_channel: 0, ..Performance::default() })
        .build()
        .expect_err("problems");
    let fields: Vec<_> = errors.problems().iter().map(|problem| &*problem.field).collect();
    assert!(fields.contains(&"connect_properties.content-type"), "{fields:?}");
    assert!(fields.contains(&"performance.message_channel"), "{fields:?}");
}

#[test]
fn a_password_file_must_be_readable_at_the_start() {
    let directory = mqttx_test::TempDir::new("options");
    let builder = SessionOptions::quick_connect("s", "h").username("u");
    let missing = builder.password_file(directory.path().join("missing")).build();
    assert_eq!(missing.expect_err("missing").problems()[0].field, "password_file");
}

#[cfg(feature = "redis")]
#[test]
fn redis_storage_is_made_of_its_parts_and_its_secrets_stay_hidden() {
    let builder = || SessionOptions::quick_connect("s", "localhost");
    let auth = builder().redis_auth("user", "secret", 1);
    let options = auth.clone().redis_storage("localhost:6379").build().expect("good");
    let shown = format!("{options:?} {:?}", options.store);
    assert!(options.store.is_some() && !shown.contains("secret"), "{shown}");
    let errors = auth.build().expect_err("no server");
    assert_eq!(errors.problems()[0].field, "redis_auth");
    let errors = builder().redis_storage("http://secret@x").build().expect_err("no such scheme");
    assert_eq!(errors.problems()[0].field, "redis_storage");
    assert!(!errors.to_string().contains("secret"), "{errors}");
}
