//! Enhanced authentication: what CONNECT and AUTH carry, and what a command does when it fails.

use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{Peer, ScramServer, ScriptedBroker, TempDir, authentication_data};
use tokio::process::{Child, Command};

use crate::script::scripts;

const METHOD: &str = ScramServer::METHOD;

scripts! {
    v5 plain_sends_user_and_password_as_data_alone:
        "pub -t t -m m -i me -u us -P pa --auth-method PLAIN" => "
        accept
        < 10 { <MQTT> 05 02 003c { 15 <PLAIN> 16 0006 00 'us' 00 'pa' } <me> }
        > 20 { 00 00 { 15 <PLAIN> } }
        ? 30
        bye
        exit 0";
    v5 method_is_found_in_any_case_and_credentials_in_the_url:
        "pub -t t -m m -i me --auth-method plain -L mqtt://us:pa@127.0.0.1:$PORT" => "
        accept
        ? 10
        > 20 { 00 00 { 15 <PLAIN> } }
        ? 30
        bye
        exit 0";
    v5 challenge_that_the_method_does_not_have_ends_the_command:
        "pub -t t -m m -i me -u us -P pa --auth-method PLAIN" => "
        accept
        ? 10
        > f0 { 18 { 15 <PLAIN> 16 <more> } }
        < e0 { 80 }
        end
        exit 1 PLAIN";
    v5 refused_method_ends_with_the_code:
        "pub -t t -m m -u us -P pa --auth-method SCRAM-SHA-512" => "
        accept
        ? 10
        > 20 { 00 8c {} }
        end
        exit 140 0x8C (Bad authentication method)";
    v5 auth_without_a_method_is_a_protocol_error: "pub -t t -m m -u us -P pa --no-reconnect" => "
        accept
        < 10 { <MQTT> 05 c2 003c {} <> <us> <pa> }
        > f0 { 18 { 15 <PLAIN> } }
        < e0 { 82 }
        end
        exit 1";
    v311 auth_is_reserved_in_3_1_1: "pub -t t -m m --no-reconnect" => "
        accept
        ? 10
        > f0 00
        end
        exit 1";
    v5 method_as_property_alone_is_sent_and_not_answered:
        "pub -t t -m m -i me -D connect authentication-method X --no-reconnect" => "
        accept
        < 10 { <MQTT> 05 02 003c { 15 <X> } <me> }
        > f0 { 18 { 15 <X> } }
        < e0 { 80 }
        end
        exit 1 no authenticator";
}

fn start(broker: &ScriptedBroker, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mqttx"))
        .args(args)
        .args(["-h", "127.0.0.1", "-p", &broker.address().port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the command starts")
}

async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(Duration::from_secs(15), child.wait_with_output()).await;
    let output = output.expect("the command ends").expect("a status");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Takes CONNECT and the answer to the server's first message; returns what the server says at the end.
async fn exchange(broker: &ScriptedBroker, server: &mut ScramServer) -> (Peer, Option<String>) {
    let mut peer = broker.accept().await;
    let connect = peer.expect_type(0x10).await;
    assert_eq!(connect[9] & 0xc0, 0, "neither user nor password");
    let first = server.first(&authentication_data(&connect, METHOD).expect("client-first"));
    peer.send(&format!("f0 {{ 18 {{ 15 <{METHOD}> 16 <{first}> }} }}")).await;
    let auth = peer.expect_type(0xf0).await;
    let last = server.last(&authentication_data(&auth, METHOD).expect("client-final"));
    (peer, last)
}

#[tokio::test]
async fn debug_shows_neither_password_nor_authentication_data() {
    let broker = ScriptedBroker::start().await;
    let method = ["--auth-method", "PLAIN"];
    let property = ["-D", "connect", "authentication-method", "PLAIN"];
    let data = ["-D", "connect", "authentication-data", "geheim"];
    for flags in [&method[..], &[], &[property, data].concat()] {
        let args = ["sub", "-t", "t", "-d", "-E", "-i", "me", "-u", "us", "-P", "geheim"];
        let child = start(&broker, &[&args[..], flags].concat());
        let mut peer = broker.accept().await;
        let connect = peer.expect_type(0x10).await;
        assert!(connect.windows(6).any(|part| part == b"geheim"), "it is there");
        peer.send("20 { 00 00 {} }").await;
        peer.expect_type(0x82).await;
        peer.send("90 { 0001 {} 00 } f0 { 18 { 15 <PLAIN> 16 <geheim> } }").await;
        assert!(peer.expect_type(0xe0).await.len() <= 3);
        drop(peer);
        let (_, stderr) = end(child).await;
        assert!(stderr.contains("sent CONNECT id 'me'"), "{stderr}");
        assert!(!stderr.contains("geheim") && !stderr.contains("67 65 68"), "{stderr}");
    }
}

#[tokio::test]
async fn scram_proves_the_password_on_every_connection() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("us", "pencil", 4096);
    let args = ["pub", "-t", "t", "-m", "m", "-q", "1", "-c", "-i", "me", "-u", "us", "-P"];
    let args = [&args[..], &["pencil", "--auth-method", METHOD, "--reconnect-initial-ms", "10"]];
    let child = start(&broker, &args.concat());
    let connack = |present: u8, last: &str| {
        format!("20 {{ {present:02} 00 {{ 15 <{METHOD}> 16 <{last}> }} }}")
    };
    let (mut peer, last) = exchange(&broker, &mut server).await;
    peer.send(&connack(0, &last.expect("the proof"))).await;
    peer.expect("32 { <t> 0001 {} 'm' }").await;
    peer.close().await;
    let (mut peer, last) = exchange(&broker, &mut server).await;
    peer.send(&connack(1, &last.expect("the proof"))).await;
    peer.expect("3a { <t> 0001 {} 'm' }").await;
    peer.send("40 { 0001 }").await;
    peer.expect("e0 {}").await;
    drop(peer);
    assert_eq!(end(child).await.0, Some(0));
}

#[tokio::test]
async fn server_that_does_not_know_the_password_ends_the_command() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("us", "another", 4096);
    let args = ["pub", "-t", "t", "-m", "m", "-u", "us", "-P", "pencil", "--auth-method", METHOD];
    let child = start(&broker, &args);
    let (mut peer, last) = exchange(&broker, &mut server).await;
    assert_eq!(last, None);
    peer.send(&format!("20 {{ 00 00 {{ 15 <{METHOD}> 16 <v=AAAA> }} }}")).await;
    peer.expect("e0 { 80 }").await;
    peer.expect_closed().await;
    drop(peer);
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("signature") && !stderr.contains("pencil"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn token_and_password_are_read_from_their_files_at_every_attempt() {
    let directory = TempDir::new("secrets");
    let path = directory.path().join("secret");
    let path = path.to_str().expect("text");
    let refused = "20 { 00 88 {} }";
    for (flags, connect) in [
        (
            &["--auth-method", "OAUTHBEARER", "--token-file"][..],
            "02 003c { 15 <OAUTHBEARER> 16 0015 'n,,' 01 'auth=Bearer KEY' 01 01 } <me>",
        ),
        (&["-u", "us", "--password-file"], "c2 003c {} <me> <us> <KEY>"),
    ] {
        let broker = ScriptedBroker::start().await;
        std::fs::write(path, "one\n").expect("a file");
        let args = ["pub", "-t", "t", "-m", "m", "-i", "me", "--reconnect-initial-ms", "10"];
        let child = start(&broker, &[&args[..], flags, &[path]].concat());
        for (key, next) in [("one", Some("two")), ("two", None)] {
            let mut peer = broker.accept().await;
            peer.expect(&format!("10 {{ <MQTT> 05 {} }}", connect.replace("KEY", key))).await;
            match next {
                Some(next) => {
                    std::fs::write(path, next).expect("a file");
                    peer.send(refused).await;
                }
                None => {
                    peer.send("20 { 00 00 {} }").await;
                    peer.expect_type(0x30).await;
                    peer.expect("e0 {}").await;
                }
            }
        }
        assert_eq!(end(child).await.0, Some(0));
    }
}

#[tokio::test]
async fn file_that_cannot_be_read_any_more_costs_an_attempt() {
    let directory = TempDir::new("secrets");
    let path = directory.path().join("secret");
    std::fs::write(&path, "one").expect("a file");
    let broker = ScriptedBroker::start().await;
    let path_text = path.to_str().expect("text");
    let args = ["sub", "-t", "t", "-E", "-u", "us", "--password-file", path_text];
    let child = start(&broker, &[&args[..], &["--reconnect-initial-ms", "10"]].concat());
    let mut peer = broker.accept().await;
    peer.expect_type(0x10).await;
    std::fs::remove_file(&path).expect("a file");
    peer.send("20 { 00 88 {} }").await;
    drop(peer);
    // Until the file is there again; the attempts without it never reach the broker.
    broker.expect_no_connection(Duration::from_millis(100)).await;
    std::fs::write(&path, "two").expect("a file");
    let mut peer = broker.accept().await;
    peer.expect("10 { <MQTT> 05 c2 003c {} <> <us> <two> }").await;
    peer.send("20 { 00 00 {} }").await;
    peer.expect_type(0x82).await;
    peer.send("90 { 0001 {} 00 }").await;
    peer.expect("e0 {}").await;
    drop(peer);
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("cannot be read"), "{stderr}");
}
