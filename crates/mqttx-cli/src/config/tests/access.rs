//! Who a session is, and what it does when it is refused.

use super::*;

#[test]
fn authentication_is_read_from_the_file_and_its_files_are_beside_it() {
    use mqttx::auth::AuthMethod;
    let files = Files::new(&[
        (
            "c.toml",
            r#"
[sessions.a]
brokers = ["h"]
auth = { method = "SCRAM-SHA-512", username = "u", password = "${file:secret}" }

[sessions.b]
brokers = ["h"]
auth = { method = "OAUTHBEARER", token_file = "secret" }

[sessions.c]
brokers = ["h"]
username = "u"
password_file = "secret"
auth = { method = "PLAIN" }

[sessions.d]
brokers = ["h"]
protocol = "3.1.1"
clean_start = true
auth = { username = "u", password_file = "secret" }
"#,
        ),
        ("secret", "geheim\n"),
    ]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let methods: Vec<_> =
        config.sessions.iter().map(|s| s.auth.as_ref().and_then(|auth| auth.method)).collect();
    let (scram, bearer) = (AuthMethod::ScramSha512, AuthMethod::OauthBearer);
    assert_eq!(methods, [Some(scram), Some(bearer), Some(AuthMethod::Plain), None]);
    let auth = |n: usize| config.sessions[n].auth.clone().unwrap();
    assert_eq!(auth(0).password, Some("geheim".into()));
    assert_eq!(auth(1).token_file, Some(files.0.join("secret")));
    assert_eq!(auth(3).password_file, Some(files.0.join("secret")));
    let shown = format!("{config:?}");
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn mistakes_in_authentication_are_named_without_the_secret() {
    for (line, expected) in [
        (
            r#"auth = { method = "KERBEROS" }"#,
            "known are SCRAM-SHA-256, SCRAM-SHA-512, PLAIN, OAUTHBEARER",
        ),
        (r#"auth = { methd = "PLAIN" }"#, "did you mean 'method'?"),
        (r#"auth = { method = "PLAIN" }"#, "PLAIN needs a username and a password"),
        (r#"auth = { method = "OAUTHBEARER" }"#, "OAUTHBEARER needs auth.token"),
        (
            r#"auth = { method = "OAUTHBEARER", username = "u", password = "geheim" }"#,
            "takes a token",
        ),
        (r#"auth = { method = "PLAIN", username = "u", token = "geheim" }"#, "takes a password"),
        (r#"auth = { token = "geheim" }"#, "a token needs auth.method"),
        (r#"auth = { method = "OAUTHBEARER", token_file = "missing" }"#, "auth.token_file"),
        ("auth = { password = 271828 }", "invalid value '***'"),
        (
            "auth = { method = \"PLAIN\", username = \"u\", password = 271828 }",
            "invalid value '***'",
        ),
        (
            "protocol = \"3.1.1\"\nclean_start = true\nauth = { method = \"PLAIN\", username = \"u\", password = \"geheim\" }",
            "use protocol 5",
        ),
        ("username = \"v\"\nauth = { username = \"u\", password = \"geheim\" }", "give only one"),
    ] {
        let found = problems(&format!("[sessions.a]\nbrokers = ['h']\n{line}\n"));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{line}: {found:#?}");
        let shown = found.join("\n");
        assert!(!shown.contains("geheim") && !shown.contains("271828"), "{shown}");
    }
}

#[test]
fn each_refusal_has_its_reaction() {
    use mqttx::Reaction;
    let text = |on: &str| {
        format!(
            "[defaults.session]\nreconnect = {{ max = '5s', on = {{ banned = 'retry' }} }}\n\
             [sessions.a]\nbrokers = ['h']\nreconnect = {{ on = {{ {on} }} }}\n"
        )
    };
    let names = "bad_credentials = 'retry-slowly', taken_over = 'stop', server_moved = 'follow'";
    let config = read(&text(names)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let reconnect = config.sessions[0].reconnect;
    let on = reconnect.on;
    assert_eq!(reconnect.max, Duration::from_secs(5));
    assert_eq!(
        (on.bad_credentials, on.banned),
        (Some(Reaction::RetrySlowly), Some(Reaction::Retry))
    );
    assert_eq!((on.taken_over, on.quota), (Some(Reaction::Stop), None));
    assert_eq!(on.server_moved, Some(Reaction::Follow));
    for (on, expected) in [
        ("quota = 'follow'", "only server_moved has an address to follow"),
        ("quota = 'giveup'", "unknown value 'giveup'"),
        ("taken-over = 'stop'", "did you mean 'taken_over'?"),
    ] {
        let found = problems(&text(on));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{on}: {found:#?}");
    }
}

#[test]
fn what_stands_in_the_wrong_place_is_told_without_its_secrets() {
    let found = problems(
        "[stores.r]\nkind = 'redis'\nurl = 'redis://h'\n\
         [sessions.a]\nbrokers = 'mqtts://gw:hunter2@h'\n\
         user_properties = 'hunter2'\n\
         ws = { headers = 'Cookie hunter2' }\n\
         auth = 'gw hunter2'\n\
         store = 'redis://:hunter2@h'\n\
         enabled = 'mqtt://gw:hunter2@h'\n\
         [sessions.b]\nbrokers = ['h']\nuser_properties = [['a', 'b'], 'hunter2']\n\
         ws = 'wss://gw:hunter2@h'\n\
         [http]\nlisten = 'http://gw:hunter2@h:80'\n\
         [log]\nformat = 3\n",
    );
    let expected = [
        "5:11: invalid type: string \"mqtts://***@h\", expected a list",
        "6:19: invalid value '***', expected a table of names and values",
        "7:18: invalid value '***', expected a table",
        "8:8: invalid value '***', expected a table",
        "9:9: unknown store 'redis://***@h': known are r",
        "10:11: invalid type: string \"mqtt://***@h\", expected a boolean",
        "13:32: invalid value '***', expected a pair",
        "14:6: invalid type: string \"wss://***@h\", expected a table",
        "16:10: 'http://***@h:80' is not an address",
        "18:10: invalid type, expected a string",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}
