//! Certificates and keys that cannot be used are told before any connection.

use std::sync::Arc;

use mqttx::{SessionOptions, TlsOptions};

use crate::support::Site;

/// The problems of a session with these options, one a line.
#[track_caller]
fn problems(tls: TlsOptions) -> String {
    match SessionOptions::quick_connect("s", "mqtts://h").tls(tls).build() {
        Ok(_) => panic!("nothing is wrong"),
        Err(errors) => errors.to_string(),
    }
}

#[track_caller]
fn assert_problem(tls: TlsOptions, field: &str, parts: &[&str]) {
    let text = problems(tls);
    assert!(text.starts_with(&format!("tls.{field} = ")), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing: {text}");
    }
}

#[tokio::test]
async fn each_unusable_file_is_named_with_the_reason() {
    let site = Site::new().await;
    let client = site.pki.client("gw");
    let other = site.pki.client("other");
    let (cert, key) = client.write(site.directory.path(), "gw");
    let (_, other_key) = other.write(site.directory.path(), "other");
    let new = TlsOptions::new;
    let missing = site.directory.path().join("none.pem");
    assert_problem(new().ca(missing.clone()), "ca", &["none.pem", "No such file"]);
    assert_problem(new().ca(key.clone()), "ca", &["a private key and no certificate"]);
    assert_problem(new().ca(b"hello".as_slice()), "ca", &["in memory", "no certificate"]);
    let damaged = site.pki.ca().replacen("MII", "!!!", 1);
    assert_problem(new().ca(site.file("bad.pem", damaged)), "ca", &["bad.pem", "damaged"]);
    assert_problem(new().ca_dir(missing), "ca_dir", &["No such file"]);
    let empty = site.directory.path().join("empty");
    std::fs::create_dir(&empty).expect("a directory");
    assert_problem(new().ca_dir(empty), "ca_dir", &["no file in it has a certificate"]);
    let pair = |c: &std::path::Path, k: &std::path::Path| new().client_certificate(c, k);
    assert_problem(pair(&cert, &other_key), "key", &["other.key", "not the key of", "gw.pem"]);
    assert_problem(pair(&cert, &cert), "key", &["a certificate and no private key"]);
    let odd = site.file("odd.key", "-----BEGIN ODD KEY-----\nAAAA\n-----END ODD KEY-----\n");
    assert_problem(pair(&cert, &odd), "key", &["odd.key", "no private key"]);
    let der = site.file("odd.der", [0x30, 0x82, 0, 4, 2, 1, 0, 5]);
    assert_problem(pair(&cert, &der), "key", &["cannot be used: failed to parse private key"]);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_problem(pair(&cert, &site.file("old.key", old)), "key", &["openssl pkcs8 -topk8"]);
    assert_problem(new().sni("no name"), "sni", &["neither a host name nor an address"]);
    assert_problem(new().alpn([""]), "alpn", &["1 to 255 bytes"]);
    let mut alone = new();
    alone.cert = Some(cert.into());
    assert_problem(alone, "cert", &["key is missing"]);
    let mut alone = new();
    alone.key = Some(key.into());
    assert_problem(alone, "key", &["cert is missing"]);
}

#[tokio::test]
async fn several_problems_are_told_at_once() {
    let site = Site::new().await;
    let tls = TlsOptions::new()
        .ca(site.directory.path().join("none.pem"))
        .sni("no name")
        .alpn([""])
        .cipher_suites(["TLS_NULL"])
        .key_exchange(["P1"]);
    let text = problems(tls);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("TLS_AES_128_GCM_SHA256") && text.contains("X25519"), "{text}");
    let tls = TlsOptions::new()
        .versions([mqttx::TlsVersion::V1_3])
        .cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    assert!(problems(tls).contains("none of them can be used with these versions"));
}

#[tokio::test]
async fn directory_and_bundle_of_authorities_are_read() {
    let site = Site::new().await;
    let directory = site.directory.path().join("cas");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("one.pem"), site.pki.ca()).expect("a file");
    std::fs::write(directory.join("two.der"), site.pki.ca_der()).expect("a file");
    std::fs::write(directory.join("README"), "nothing").expect("a file");
    let bundle = format!("# both\n{}{}", site.pki.ca(), mqttx_test::Pki::new("two").ca());
    let tls = TlsOptions::new().ca_dir(directory).ca(site.file("bundle.pem", bundle));
    SessionOptions::quick_connect("s", "mqtts://h").tls(tls).build().expect("valid");
}

#[test]
fn options_for_tls_without_a_broker_of_it_are_an_error() {
    let built = SessionOptions::quick_connect("s", "mqtt://h").tls(TlsOptions::new()).build();
    let text = built.expect_err("plain").to_string();
    assert!(text.contains("write mqtts://"), "{text}");
}

#[test]
fn files_in_the_short_form_are_those_that_are_named() {
    let built = SessionOptions::quick_connect("s", "mqtts://h").tls_files("", "", "", true).build();
    let tls = built.expect("valid").tls.expect("options");
    assert!(tls.danger_accept_invalid_certs && tls.ca.is_none() && tls.cert.is_none());
    let secret: Arc<[u8]> = Arc::from(&b"x"[..]);
    assert_eq!(mqttx::TlsSource::Bytes(secret).to_string(), "1 bytes in memory");
}
