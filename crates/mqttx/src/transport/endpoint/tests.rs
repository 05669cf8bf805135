//! Addresses and what is shown of them.

use super::*;

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn bare_hosts_and_urls_mean_the_same() {
    for text in ["mqtt://plant:1883", "tcp://plant", "plant", "plant:1883", "mqtt://plant/"] {
        let endpoint = parse(text);
        assert_eq!((endpoint.host(), endpoint.port()), ("plant", 1883), "{text}");
        assert_eq!(endpoint.to_string(), "mqtt://plant:1883");
        assert_eq!(endpoint.topic(), None);
    }
}

#[test]
fn tls_has_three_names_and_a_port_of_its_own() {
    for text in ["mqtts://plant", "ssl://plant:8883", "tls://plant/"] {
        let endpoint = parse(text);
        assert_eq!((endpoint.scheme(), endpoint.port()), (Scheme::Tls, 8883), "{text}");
        assert_eq!(endpoint.to_string(), "mqtts://plant:8883");
    }
    assert_eq!(parse("mqtts://h/a/b").topic(), Some("a/b"));
    let bare = |text| Endpoint::parse_as(text, Scheme::Tls).map(|e| e.to_string());
    assert_eq!(bare("plant").as_deref(), Ok("mqtts://plant:8883"));
    assert_eq!(bare("mqtt://plant").as_deref(), Ok("mqtt://plant:1883"));
}

#[test]
fn credentials_and_topic_are_percent_decoded() {
    let endpoint = parse("mqtt://a%3Ab:p%40ss%3A@h/x%2Fy/%C3%A9");
    assert_eq!(endpoint.username(), Some("a:b"));
    assert_eq!(endpoint.password().map(Secret::expose), Some(&b"p@ss:"[..]));
    assert_eq!(endpoint.topic(), Some("x/y/é"));
}

#[test]
fn ipv6_needs_brackets() {
    assert_eq!(parse("[2001:db8::7]:18").port(), 18);
    assert_eq!(parse("mqtt://[::1]").to_string(), "mqtt://[::1]:1883");
    assert!("::1".parse::<Endpoint>().is_err());
}

#[test]
fn bad_endpoints_say_what_is_wrong() {
    for (text, part) in [
        ("", "host is missing"),
        ("mqtt://", "host is missing"),
        ("mqtt://:1883", "host is missing"),
        ("http://h", "unknown scheme"),
        ("unix://", "absolute path"),
        ("unix://host/run/s", "absolute path"),
        ("h:0", "1 to 65535"),
        ("h:65536", "1 to 65535"),
        ("h:x", "not a number"),
        ("h:", "1 to 65535"),
        ("[::1", "not closed"),
        ("[zz]:1", "no IPv6"),
        ("[::1]1", "only a port"),
        ("a b", "not allowed"),
        ("mqtt://u%4@h", "percent"),
        ("mqtt://%ff@h", "UTF-8"),
    ] {
        let error = text.parse::<Endpoint>().expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn passwords_are_never_shown() {
    let error = "mqtt://u:geheim@h:x".parse::<Endpoint>().expect_err("bad port");
    assert_eq!(error.shown(), "mqtt://u:***@h:x");
    assert!(!format!("{:?}", parse("mqtt://u:geheim@h")).contains("geheim"));
}

#[test]
fn sockets_have_a_path_and_neither_host_nor_topic() {
    let endpoint = parse("unix:///run/my%20broker.sock");
    assert_eq!(endpoint.scheme(), Scheme::Unix);
    assert_eq!(endpoint.socket_path(), Some(Path::new("/run/my broker.sock")));
    assert_eq!((endpoint.host(), endpoint.port(), endpoint.topic()), ("", 0, None));
    assert_eq!(endpoint.to_string(), "unix:///run/my%20broker.sock");
    assert_eq!(parse("unix://u:p@/s").username(), Some("u"));
    assert_eq!(parse("mqtt://h/run").socket_path(), None);
}

#[test]
fn websockets_have_the_path_of_http_and_no_topic() {
    for (text, resource, shown) in [
        ("ws://h", "/mqtt", "ws://h:80/mqtt"),
        ("WS://h/", "/", "ws://h:80/"),
        ("ws://h:8080/a%2Fb/c", "/a%2Fb/c", "ws://h:8080/a%2Fb/c"),
        ("ws://[::1]?t=%20&@/", "/mqtt?t=%20&@/", "ws://[::1]:80/mqtt?***"),
        ("ws://u:geheim@h/x?t=y?z", "/x?t=y?z", "ws://h:80/x?***"),
    ] {
        let endpoint = parse(text);
        assert_eq!((endpoint.resource(), endpoint.topic()), (Some(resource), None), "{text}");
        assert_eq!(endpoint.to_string(), shown, "{text}");
        let again = parse(&endpoint.address());
        assert_eq!((again.host(), again.resource()), (endpoint.host(), Some(resource)));
    }
    assert_eq!(parse("ws://u:p@h").password().map(Secret::expose), Some(&b"p"[..]));
    for (text, part) in [
        ("ws://", "host is missing"),
        ("ws:///mqtt", "host is missing"),
        ("ws://h/a b", "percent-encoded"),
        ("ws://h/é", "percent-encoded"),
        ("ws://h/a\r\nX: y", "percent-encoded"),
        ("ws://h/x#y", "fragment"),
    ] {
        let error = text.parse::<Endpoint>().expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let error = "ws://u:geheim@h:x/?token=geheim".parse::<Endpoint>().expect_err("bad port");
    assert_eq!(error.shown(), "ws://u:***@h:x/?***");
}

#[test]
fn one_broker_is_the_same_under_several_names() {
    assert_eq!(parse("tcp://u:p@Host:1884/x").broker(), parse("host:1884").broker());
    assert_eq!(parse("ws://h/a?x=1").broker(), parse("ws://H:80/a?y").broker());
    for (one, other) in
        [("h:1", "h:2"), ("ws://h/a", "ws://h/b"), ("unix:///a", "unix:///A"), ("h", "ws://h")]
    {
        assert_ne!(parse(one).broker(), parse(other).broker());
    }
}

#[test]
fn ids_tell_brokers_apart() {
    assert_eq!(parse("Plant:1").id(), parse("mqtt://u@plant:1/x").id());
    assert_ne!(parse("plant:1").id(), parse("plant:2").id());
    assert_ne!(parse("unix:///a").id(), parse("unix:///A").id());
    assert_ne!(parse("ws://h/a").id(), parse("ws://h/b").id());
    assert_eq!(parse("ws://h/a?token=1").id(), parse("ws://h/a?token=2").id());
}

#[test]
fn a_reference_is_reached_as_the_server_that_gave_it_and_with_its_user() {
    let here: Endpoint = "mqtt://us:pa@here:1884/topic".parse().expect("valid");
    let shown = |endpoint: &Endpoint| {
        let password = endpoint.password().map(|secret| secret.expose().to_vec());
        (endpoint.to_string(), endpoint.username().map(str::to_owned), password)
    };
    for (reference, address, user, password) in [
        ("there", "mqtt://there:1883", "us", "pa"),
        ("[::1]:1885", "mqtt://[::1]:1885", "us", "pa"),
        ("tcp://there", "mqtt://there:1883", "us", "pa"),
        ("you:your@there", "mqtt://there:1883", "you", "your"),
    ] {
        let found = here.refer(reference).expect(reference);
        let expected = (address.to_owned(), Some(user.to_owned()), Some(password.into()));
        assert_eq!(shown(&found), expected);
        assert_eq!(found.topic(), None);
    }
    for reference in ["", "a:b:c", "http://there", "there:0", "unix:///run/docker.sock"] {
        assert_eq!(here.refer(reference), None, "{reference}");
    }
    let safe: Endpoint = "mqtts://here".parse().expect("valid");
    for reference in ["mqtt://there", "tcp://there:8883", "ws://there", "unix:///there"] {
        assert_eq!(safe.refer(reference), None, "not encrypted: {reference}");
    }
    let found = safe.refer("there").expect("an address");
    assert_eq!(found.to_string(), "mqtts://there:8883");
    let socket: Endpoint = "unix:///run/broker".parse().expect("valid");
    let found = socket.refer("there:1884").expect("an address");
    assert_eq!((found.scheme(), found.port()), (Scheme::Tcp, 1884));
    assert!(socket.refer("unix:///run/other").is_some());
    let socket: Endpoint = "ws://h/path?key=1".parse().expect("valid");
    let found = socket.refer("there:81").expect("an address");
    assert_eq!((found.scheme(), found.resource()), (Scheme::Ws, socket.resource()));
}
