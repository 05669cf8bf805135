use super::*;

#[tokio::test]
async fn a_message_shows_what_arrived() {
    let mut bench = Bench::new();
    bench.properties.push(Property::ContentType("text/plain")).unwrap();
    bench.properties.push(Property::UserProperty("k", "v")).unwrap();
    let mut stream = bench.route("a/+").listen().unwrap();
    bench.qos1("a/ü", "päyload");
    let message = stream.next().await.unwrap();
    assert_eq!(message.topic(), "a/ü");
    assert_eq!(message.payload_str().unwrap(), "päyload");
    assert_eq!(message.payload_bytes(), "päyload".as_bytes());
    assert_eq!(message.properties().content_type(), Some("text/plain"));
    assert_eq!(message.properties().user_properties().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(message.qos(), QoS::AtLeastOnce);
    assert_eq!(message.packet_id(), PacketId::new(1));
    assert_eq!(message.session(), "plant");
    assert!(message.received_system() <= std::time::SystemTime::now());
    let again = message.as_packet();
    assert_eq!((again.topic, again.payload), ("a/ü", "päyload".as_bytes()));
    assert_eq!(again.properties.as_bytes(), bench.properties.as_ref().as_bytes());
}

#[tokio::test]
async fn nothing_that_matches_is_unrouted() {
    let mut bench = Bench::new();
    let stream = bench.route("a").listen().unwrap();
    assert_eq!(bench.qos1("b", "1").0, Dispatched::Unrouted);
    assert_eq!(bench.qos1("a", "1").0, Dispatched::Pending);
    drop(stream);
    assert_eq!(bench.qos1("a", "1").0, Dispatched::Unrouted, "a dropped stream is no route");
}

#[tokio::test]
async fn copies_for_overlapping_subscriptions_are_told_apart_by_identifier() {
    let mut bench = Bench::new();
    let mut a = bench.identified("t/+", 1);
    let mut b = bench.identified("t/#", 2);
    bench.properties = identifiers(&[1]);
    bench.qos1("t/x", "for a");
    bench.properties = identifiers(&[2]);
    bench.qos1("t/x", "for b");
    bench.properties = identifiers(&[1, 2]);
    bench.qos1("t/x", "for both");
    assert_eq!(waiting(&mut a), ["for a", "for both"]);
    assert_eq!(waiting(&mut b), ["for b", "for both"]);
}

#[tokio::test]
async fn an_identifier_of_an_earlier_process_does_not_mislead() {
    let mut bench = Bench::new();
    let mut old = bench.identified("old/#", 2);
    let mut new = bench.identified("new/#", 1);
    bench.properties = identifiers(&[1]);
    bench.qos1("old/x", "meant for old/#, which was 1 then");
    assert_eq!(waiting(&mut old).len(), 1);
    assert!(waiting(&mut new).is_empty());
}

#[tokio::test]
async fn a_route_without_subscription_takes_what_others_bring() {
    let mut bench = Bench::new();
    let mut bound = bench.identified("t/+", 1);
    let mut local = bench.route("t/x").subscribe(false).listen().unwrap();
    bench.properties = identifiers(&[1]);
    bench.qos1("t/x", "1");
    bench.properties = identifiers(&[9]);
    bench.qos1("t/x", "of a caller's subscription");
    assert_eq!(waiting(&mut local).len(), 2);
    assert!(waiting(&mut bound).contains(&"1".to_owned()));
}

#[tokio::test]
async fn removing_a_session_ends_its_streams_after_what_was_waiting() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    bench.qos0("t", "last");
    bench.host.router.close();
    assert_eq!(stream.next().await.unwrap().payload(), b"last");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn filters_that_cannot_be_are_refused_before_anything_starts() {
    let bench = Bench::new();
    let deep = "a/".repeat(2000);
    for filter in ["", "a/#/b", "a+", "$share//x", &deep] {
        let error = bench.route(filter).listen().unwrap_err().to_string();
        assert!(error.contains("filter"), "{filter}: {error}");
    }
    assert!(bench.route("$share/g/t").no_local(true).listen().is_err());
    assert!(bench.host.router.targets().is_empty());
}

fn identifiers(ids: &[u32]) -> Properties {
    let mut properties = Properties::new();
    // Many may stand in a received PUBLISH, not in one that is sent.
    let mut raw = Vec::new();
    for id in ids {
        raw.extend_from_slice(&[0x0b, u8::try_from(*id).unwrap()]);
    }
    if !raw.is_empty() {
        properties = Properties::from_raw(raw, mqttx_proto::PropertyContext::Publish).unwrap();
    }
    properties
}
