//! Wrong usage ends with 2 and one line that says what is wrong, before any connection.

use std::process::{Command, Output, Stdio};

fn mqttx(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqttx"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts")
}

/// The command ends with `code`, nothing on stdout and one line on stderr that contains `part`.
fn refused(args: &[&str], code: i32, part: &str) {
    let output = mqttx(args);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(part), "{args:?}: '{part}' is not in: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

fn wrong(args: &[&str], part: &str) {
    refused(args, 2, part);
}

/// Runs with the arguments in front, for flags that every command shares.
fn wrong_everywhere(args: &[&str], part: &str) {
    for start in [&["pub", "-t", "t", "-m", "x"][..], &["sub", "-t", "t"]] {
        wrong(&[start, args].concat(), part);
    }
}

#[test]
fn commands_and_flags_must_exist() {
    for (args, part) in [
        (&[][..], "subcommand"),
        (&["nonsense"], "'nonsense'"),
        (&["sub", "-t", "t", "--nonsense"], "'--nonsense'"),
        (&["sub", "-t", "t", "extra"], "'extra'"),
        (&["completions"], "SHELL"),
        (&["completions", "cmd.exe"], "cmd.exe"),
    ] {
        wrong(args, part);
    }
}

#[test]
fn addresses_of_other_kinds_have_rules_of_their_own() {
    wrong_everywhere(&["-L", "ws://h/a b"], "percent-encoded");
    wrong_everywhere(&["-L", "unix:///s", "-h", "localhost"], "neither a host nor a port");
}

#[test]
fn flags_of_tls_belong_together() {
    for (args, part) in [
        (&["--cert", "c.pem"][..], "--key <FILE>"),
        (&["--key", "c.key"], "--cert <FILE>"),
        (&["--p12", "c.p12", "--cert", "c.pem", "--key", "c.key"], "cannot be used with"),
        (&["--tls-version", "1.1"], "allowed are 1.2 and 1.3"),
        (&["-L", "mqtt://h", "--insecure"], "mqtt://h:1883 does not speak TLS"),
        (&["--sni", "not a name"], "--sni not a name: it is neither"),
        (&["--tls-alpn", ""], "--tls-alpn : 1 to 255 bytes"),
    ] {
        wrong_everywhere(args, part);
    }
}

#[test]
fn unusable_files_of_tls_are_named_before_any_connection() {
    let file = |flag: &str| {
        let args = ["sub", "-t", "t", flag, "none.pem"];
        refused(&args, 1, &format!("{flag} none.pem: No such file"));
    };
    ["--cafile", "--capath", "--p12"].into_iter().for_each(file);
    let args = ["pub", "-t", "t", "-m", "x", "--cert", "none.pem", "--key", "none.key"];
    refused(&args, 1, "--cert none.pem: No such file");
    refused(&args, 1, "--key none.key: No such file");
}

#[test]
fn stores_are_checked_before_anything_is_created() {
    for (args, part) in [
        (&["--store", "file:x"][..], "needs a client id"),
        (&["-i", "c", "--store", "x"], "file:DIR"),
        (&["-i", "c", "--store", "file:"], "file:DIR"),
        (&["-i", "c", "--store", "http://h"], "redis://"),
        (&["-i", "c", "--store", "redis://h:x"], "redis"),
        (&["-i", "c", "--fsync", "os"], "--store file:DIR"),
        (&["-i", "c", "--store", "memory", "--fsync", "os"], "--store file:DIR"),
        (&["-i", "c", "--store", "redis://h", "--fsync", "os"], "--store file:DIR"),
        (&["-i", "c", "--store", "file:x", "--fsync", "always"], "interval"),
        (&["-i", "c", "--store", "file:x", "--fsync", "interval:0"], "1 to"),
    ] {
        wrong_everywhere(args, part);
    }
    assert!(!std::path::Path::new("x").exists());
}

#[test]
fn values_out_of_range_are_named() {
    for (args, part) in [
        (&["-q", "3"][..], "'3'"),
        (&["-q", "-1"], "-1"),
        (&["-k", "65536"], "65536"),
        (&["-k", "x"], "'x'"),
        (&["-p", "0"], "1 to 65535"),
        (&["-p", "70000"], "1 to 65535"),
        (&["-V", "4"], "'4'"),
        (&["-V", "3.1"], "'3.1'"),
        (&["-x", "4294967296"], "4294967295"),
        (&["-x", "-1"], "-1"),
        (&["-x", "forever"], "never"),
        (&["--receive-maximum", "0"], "0"),
        (&["--receive-maximum", "65536"], "65536"),
        (&["--topic-alias-max", "65536"], "65536"),
        (&["--max-packet-size", "0"], "0"),
        (&["--max-inflight", "0"], "0"),
        (&["--cert", "gw.pem"], "were not provided: --key <FILE>"),
        (&["--timeout", "0"], "seconds above 0"),
        (&["--timeout", "x"], "seconds above 0"),
        (&["--timeout", "nan"], "seconds above 0"),
        (&["--reconnect-initial-ms", "0"], "0"),
        (&["--reconnect-initial-ms", "20", "--reconnect-max-ms", "10"], "above"),
        (&["-L", "http://h"], "unknown scheme"),
        (&["-L", "mqtt://h:99999/t"], "1 to 65535"),
        (&["-L", "mqtt://u%zz@h/t"], "percent"),
        (&["-L", "mqtt://u:secret@h:0"], "'mqtt://u:***@h:0'"),
        (&["--proxy", "proxy:3128"], "scheme is missing"),
        (&["--proxy", "https://h"], "unknown scheme"),
        (&["--proxy", "socks5://u:secret@h:x"], "'socks5://u:***@h:x'"),
        (&["-h", ""], "not a host"),
        (&["-h", "a b"], "not a host"),
        (&["-L", "mqtt://a:b@h", "-L", "mqtt://c:d@h2"], "different users"),
        (&["--will-qos", "3", "--will-topic", "w"], "'3'"),
        (&["--will-payload", "x"], "--will-topic"),
        (&["--will-retain"], "--will-topic"),
        (&["--will-qos", "1"], "--will-topic"),
        (&["--will-topic", "a/#"], "a/#"),
        (&["--will-topic", ""], "--will-topic"),
        (&["-P", "x", "--password-file", "f"], "--password-file"),
    ] {
        wrong_everywhere(args, part);
    }
}

#[test]
fn a_request_needs_version_5_and_two_topics() {
    let rr = |args: &[&'static str]| [&["rr", "-t", "q", "-e", "r", "-m", "x"], args].concat();
    wrong(&rr(&["-V", "311"]), "needs MQTT 5");
    wrong(&rr(&["-D", "publish", "response-topic", "r"]), "give -e");
    wrong(&rr(&["-W", "0"]), "seconds above 0");
    wrong(&["rr", "-t", "q", "-m", "x"], "--response-topic");
    wrong(&["rr", "-e", "r", "-m", "x"], "give -t");
    wrong(&["rr", "-t", "q", "-e", "r"], "--message");
    wrong(&["rr", "-t", "q", "-e", "r", "-m", "x", "-n"], "--null-message");
    wrong(&["rr", "-t", "q/#", "-e", "r", "-m", "x"], "-t 'q/#'");
    wrong(&["rr", "-t", "q", "-e", "+", "-m", "x"], "-e '+'");
}

#[test]
fn version_3_1_1_has_no_properties_and_needs_user_and_id() {
    for (args, part) in [
        (&["-x", "10"][..], "MQTT 5"),
        (&["-D", "connect", "user-property", "k", "v"], "MQTT 5"),
        (&["-P", "secret"], "-u"),
        (&["-L", "mqtt://:secret@h/t"], "-u"),
        (&["-c"], "-i"),
        (&["-c", "-i", ""], "-i"),
    ] {
        for version in ["311", "3.1.1", "mqttv311"] {
            wrong_everywhere(&[&["-V", version], args].concat(), part);
        }
    }
    for flag in [&["--no-local"][..], &["--retain-as-published"], &["--retain-handling", "1"]] {
        wrong(&[&["sub", "-t", "t", "-V", "311"], flag].concat(), "MQTT 5");
    }
    wrong_everywhere(&["--store", "memory"], "-i");
}

#[test]
fn methods_of_authentication_take_what_belongs_to_them() {
    let token = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (args, part) in [
        (
            &["--auth-method", "KERBEROS", "-u", "u", "-P", "p"][..],
            "SCRAM-SHA-256, SCRAM-SHA-512, PLAIN, OAUTHBEARER",
        ),
        (&["--auth-method", "PLAIN"], "give -u and -P"),
        (&["--auth-method", "SCRAM-SHA-256", "-u", "u"], "give -u and -P"),
        (&["--auth-method", "SCRAM-SHA-512", "-P", "p"], "give -u and -P"),
        (&["--auth-method", "OAUTHBEARER"], "--token-file"),
        (&["--auth-method", "OAUTHBEARER", "-P", "p"], "--token-file"),
        (&["--auth-method", "OAUTHBEARER", "--token-file", token, "-P", "p"], "no password"),
        (&["--auth-method", "PLAIN", "-u", "u", "--token-file", token], "OAUTHBEARER"),
        (&["--token-file", token], "--auth-method OAUTHBEARER"),
        (&["--auth-method", "PLAIN", "-u", "u", "-P", "p", "-V", "311"], "MQTT 5"),
        (
            &[
                "--auth-method",
                "PLAIN",
                "-u",
                "u",
                "-P",
                "p",
                "-D",
                "connect",
                "authentication-method",
                "X",
            ],
            "give one",
        ),
    ] {
        wrong_everywhere(args, part);
    }
    let missing = ["--auth-method", "OAUTHBEARER", "--token-file", "/nowhere/token"];
    refused(&[&["sub", "-t", "t"], &missing[..]].concat(), 1, "/nowhere/token");
}

#[test]
fn properties_are_checked_before_any_connection() {
    for (args, part) in [
        (&["-D"][..], "--property"),
        (&["-D", "connect"], "PACKET NAME VALUE"),
        (&["-D", "connect", "user-property", "k"], "key and a value"),
        (&["-D", "connect", "content-type", "x"], "cannot carry"),
        (&["-D", "connect", "receive-maximum", "0"], "receive-maximum"),
        (&["-D", "connect", "nonsense", "0"], "nonsense"),
        (&["-D", "nonsense", "user-property", "a", "b"], "'nonsense user-property a b'"),
        (&["-D", "will", "will-delay-interval", "1"], "--will-topic"),
        (&["-D", "connect", "authentication-data", "x"], "authentication-method"),
        (&["-D", "connect", "receive-maximum", "1", "--receive-maximum", "1"], "give one"),
        (&["-D", "connect", "session-expiry-interval", "1", "-x", "1"], "give one"),
        (
            &[
                "-D",
                "connect",
                "maximum-packet-size",
                "9",
                "-D",
                "connect",
                "maximum-packet-size",
                "9",
            ],
            "maximum-packet-size",
        ),
        (&["-D", "disconnect", "session-expiry-interval", "5"], "-x"),
        (&["-x", "0", "-D", "disconnect", "session-expiry-interval", "5"], "-x"),
    ] {
        wrong_everywhere(args, part);
    }
    wrong(&["pub", "-t", "t", "-n", "-D", "publish", "topic-alias", "0"], "topic-alias");
    wrong(&["pub", "-t", "t", "-n", "-D", "publish", "response-topic", "a/#"], "response-topic");
    wrong(
        &["pub", "-t", "t", "-n", "-D", "publish", "subscription-identifier", "1"],
        "cannot carry",
    );
    wrong(&["pub", "-t", "t", "-n", "-D", "subscribe", "user-property", "a", "b"], "subscribe");
    wrong(&["sub", "-t", "t", "-D", "publish", "content-type", "a"], "publish");
    wrong(&["sub", "-t", "t", "-D", "subscribe", "subscription-identifier", "0"], "subscription");
}

#[test]
fn pub_needs_a_topic_and_exactly_one_payload() {
    for (args, part) in [
        (&["-m", "x"][..], "topic"),
        (&["-t", "t"], "--message"),
        (&["-t", "t", "-m", "x", "-n"], "--null-message"),
        (&["-t", "t", "-l", "-s"], "--stdin-file"),
        (&["-t", "", "-m", "x"], "-t"),
        (&["-t", "a/+", "-m", "x"], "a/+"),
        (&["-t", "a/#", "-m", "x"], "a/#"),
        (&["-L", "mqtt://h/a/#", "-m", "x"], "a/#"),
        (&["-t", "t", "-l", "--repeat", "2"], "--repeat"),
        (&["-t", "t", "-m", "x", "--repeat", "0"], "0"),
        (&["-t", "t", "-m", "x", "--repeat-delay", "-1"], "-1"),
    ] {
        wrong(&[&["pub"], args].concat(), part);
    }
    let long = "x".repeat(65_536);
    wrong(&["pub", "-n", "-t", &long], "65535");
    wrong(&["pub", "-n", "-t", "t", "-i", &long], "65535");
    wrong(&["pub", "-n", "-t", "t", "-u", &long], "65535");
}

#[test]
fn sub_needs_a_filter_and_one_style() {
    for (args, part) in [
        (&[][..], "-t"),
        (&["-t", ""], "-t"),
        (&["-t", "a#"], "a#"),
        (&["-t", "a/#/b"], "a/#/b"),
        (&["-t", "a+"], "a+"),
        (&["-t", "ok", "-t", "b+"], "b+"),
        (&["-t", "$share/g"], "$share/g"),
        (&["-t", "$share//t"], "$share//t"),
        (&["-t", "$share/g/"], "$share/g/"),
        (&["-t", "$share/g+/t"], "$share/g+/t"),
        (&["-t", "t", "-U", "a+"], "-U"),
        (&["-t", "$share/g/t", "--no-local"], "--no-local"),
        (&["-t", "t", "-C", "0"], "0"),
        (&["-t", "t", "-W", "0"], "seconds above 0"),
        (&["-t", "t", "-v", "--json"], "--json"),
        (&["-t", "t", "-F", "%t", "--json"], "--json"),
        (&["-t", "t", "-F", "%t", "-v"], "cannot be used"),
        (&["-t", "t", "-F", "%y"], "%y"),
        (&["-t", "t", "-R", "--retained-only"], "--retained-only"),
        (&["-t", "t", "--retain-handling", "3"], "'3'"),
    ] {
        wrong(&[&["sub"], args].concat(), part);
    }
}

#[test]
fn files_that_cannot_be_read_are_errors_before_any_connection() {
    refused(&["pub", "-t", "t", "-f", "no/such/file"], 1, "no/such/file");
    refused(&["sub", "-t", "t", "-u", "u", "--password-file", "no/such/file"], 1, "no/such/file");
}

#[test]
fn help_and_version_go_to_stdout() {
    for (args, part) in [
        (&["--help"][..], "Commands:"),
        (&["pub", "--help"], "--repeat-delay"),
        (&["sub", "--help"], "--retained-only"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["completions", "bash"], "_mqttx"),
        (&["completions", "zsh"], "#compdef mqttx"),
    ] {
        let output = mqttx(args);
        let stdout = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && stdout.contains(part), "{args:?}: {stdout}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn completions_know_every_flag() {
    let output = mqttx(&["completions", "bash"]);
    let script = String::from_utf8(output.stdout).expect("text");
    for flag in ["--keepalive", "--will-topic", "--retain-handling", "--null-message"] {
        assert!(script.contains(flag), "{flag}");
    }
}

#[test]
fn closed_stdout_is_an_error_and_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqttx"))
        .args(["completions", "bash"])
        .stdout(std::fs::File::options().write(true).open("/dev/full").expect("a full device"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}
