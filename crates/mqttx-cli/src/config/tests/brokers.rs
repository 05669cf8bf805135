//! The ways to a broker.

use super::*;

#[test]
fn ways_to_a_broker_are_keys_of_the_session() {
    let config = read(
        "[defaults.session]\nproxy = 'http://u:geheim@proxy:3128'\ntcp = { keep_alive = '1m', send_buffer = '64KiB' }\n\
         [sessions.a]\nbrokers = ['ws://h/mqtt', 'unix:///run/s']\nws = { headers = { X-Token = 'geheim' } }\n\
         tcp = { nodelay = false }\n\
         [sessions.b]\nbrokers = ['h']\nproxy = 'none'\n",
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [a, b] = &config.sessions[..] else { panic!("two sessions") };
    assert_eq!((a.tcp.nodelay, a.tcp.keep_alive), (false, Some(Duration::from_secs(60))));
    assert_eq!((b.tcp.nodelay, b.tcp.send_buffer), (true, Some(65_536)));
    assert_eq!(a.ws.headers["X-Token"].expose(), b"geheim");
    assert!(matches!(&a.proxy, Some(mqttx::Proxy::Server(server)) if server.host() == "proxy"));
    assert_eq!(b.proxy, Some(mqttx::Proxy::None));
    let config = read("[sessions.a]\nbrokers = ['h']\n").unwrap_or_else(|_| panic!("valid"));
    assert_eq!(config.sessions[0].proxy, Some(mqttx::Proxy::Environment), "a daemon asks it");
}

#[test]
fn wrong_ways_to_a_broker_are_told_without_secrets() {
    let found = problems(
        "[sessions.a]\nbrokers = ['h']\nproxy = 'https://u:geheim@h'\n\
         [sessions.b]\nbrokers = ['ws://h/x#y']\nws = { headers = { Host = 'geheim', 'X Y' = 'z' } }\n\
         [sessions.c]\nbrokers = ['h']\ntcp = { keep_alive = '1ms', send_buffer = 1 }\n\
         [sessions.d]\nbrokers = ['h']\ntcp = { no_delay = true }\n",
    );
    let expected = [
        "3:9: unknown scheme: allowed are http://, socks5://, socks5h://",
        "5:12: sessions.b.brokers[0] = ws://h/x#y: a WebSocket address has no fragment",
        "6:27: sessions.b.ws.headers.Host = ***: the handshake sets this field itself",
        "6:18: sessions.b.ws.headers = \"X Y\": the name of a header field",
        "9:22: sessions.c.tcp.keep_alive = 1ms: 1s to 32767s are allowed",
        "9:43: sessions.c.tcp.send_buffer = 1: 4096 to 1073741824 are allowed",
        "12:9: unknown key 'no_delay', did you mean 'nodelay'?",
    ];
    for part in expected {
        assert!(found.iter().any(|line| line.starts_with(part)), "{part}\n{found:#?}");
    }
    assert!(!found.concat().contains("geheim"), "{found:#?}");
}

#[test]
fn one_client_id_at_one_broker_is_found_under_other_addresses() {
    for (one, other, same) in [
        ("mqtt://u:p@Host:1883/x", "host", true),
        ("ws://h/a?token=1", "ws://h:80/a", true),
        ("unix:///run/s", "unix:///run/%73", true),
        ("ws://h/a", "ws://h/b", false),
        ("h:1", "h:2", false),
    ] {
        let text = format!(
            "[sessions.a]\nbrokers = ['{one}']\nclient_id = 'i'\n[sessions.b]\nbrokers = ['{other}']\nclient_id = 'i'\n"
        );
        assert_eq!(read(&text).is_err(), same, "{one} and {other}");
    }
}

#[test]
fn certificates_are_read_beside_the_file_and_told_with_their_line() {
    let pki = mqttx_test::Pki::new("ca");
    let client = pki.client("gw");
    let text = "[sessions.plant]\nbrokers = [\"mqtts://h\", \"other\"]\n\
                tls = { ca = \"ca.pem\", cert = \"gw.pem\", key = \"gw.key\", reload = true }\n";
    let (ca, cert, key) = (pki.ca(), client.cert.as_str(), client.key.as_str());
    let beside = [("c.toml", text), ("ca.pem", ca.as_str()), ("gw.pem", cert), ("gw.key", key)];
    let config = Files::new(&beside).load("c.toml").expect("valid");
    let tls = config.sessions[0].tls.as_ref().expect("options");
    assert!(tls.reload);
    let other = pki.client("other").key;
    let mixed = [("c.toml", text), ("gw.pem", cert), ("gw.key", other.as_str())];
    let found = Files::new(&mixed).load("c.toml").expect_err("no authority");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].line, found[0].column), (3, 14), "{found:?}");
    assert!(found[0].message.contains("sessions.plant.tls.ca = "), "{found:?}");
    assert!(found[0].message.contains("No such file"), "{found:?}");
    let wrong = "[sessions.plant]\nbrokers = [\"mqtts://h\"]\ntls = { cafile = \"ca.pem\" }\n";
    let found = problems(wrong);
    assert!(found.len() == 1 && found[0].starts_with("3:9: "), "{found:?}");
}
