use super::*;
use crate::auth::Credentials;

/// Section 3 of RFC 7677.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const PROOF_512: &str =
    "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
const SIGNATURE_512: &str =
    "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";

fn attempt() -> Attempt {
    Attempt {
        session: "s".into(),
        client_id: "c".to_owned(),
        broker: "mqtt://h:1883".to_owned(),
        attempt: 1,
        again: false,
    }
}

fn exchange(scram: &Scram<Credentials>) -> Running<Credentials> {
    Running {
        hash: scram.hash,
        provider: Arc::clone(&scram.provider),
        attempt: attempt(),
        known: Arc::clone(&scram.known),
        valid_for: None,
        step: Step::Begun,
    }
}

fn pencil() -> Scram<Credentials> {
    Scram::sha256(Credentials::new("user", "pencil"))
}

async fn begun(scram: &Scram<Credentials>) -> Running<Credentials> {
    let mut exchange = exchange(scram);
    let first = exchange.begin(NONCE.to_owned()).await.expect("credentials");
    assert_eq!(first, format!("n,,n=user,r={NONCE}").as_bytes());
    exchange
}

async fn answered(scram: &Scram<Credentials>) -> Running<Credentials> {
    let mut exchange = begun(scram).await;
    let answer = exchange.respond(FIRST.as_bytes()).await.expect("an answer");
    assert_eq!(answer.as_deref(), Some(FINAL.as_bytes()));
    exchange
}

#[tokio::test]
async fn the_exchange_of_rfc_7677() {
    let scram = pencil();
    assert_eq!(scram.method(), "SCRAM-SHA-256");
    let mut exchange = answered(&scram).await;
    exchange.finish(Some(SIGNATURE.as_bytes())).await.expect("the server knows the password");
}

#[tokio::test]
async fn the_server_may_prove_itself_with_auth_before_connack() {
    let mut exchange = answered(&pencil()).await;
    assert_eq!(exchange.respond(SIGNATURE.as_bytes()).await.expect("verified"), None);
    exchange.finish(None).await.expect("verified before");
}

#[tokio::test]
async fn sha_512_gives_the_values_of_an_independent_computation() {
    // Computed with Python's hashlib and hmac for the same user, password, nonces and salt.
    let scram = Scram::sha512(Credentials::new("user", "pencil"));
    assert_eq!(scram.method(), "SCRAM-SHA-512");
    let mut exchange = begun(&scram).await;
    let answer = exchange.respond(FIRST.as_bytes()).await.expect("an answer").expect("data");
    let answer = String::from_utf8(answer).expect("text");
    assert_eq!(answer.split_once(",p=").map(|(_, proof)| proof), Some(PROOF_512));
    exchange.finish(Some(SIGNATURE_512.as_bytes())).await.expect("the server knows the password");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_is_found_out() {
    let flipped = SIGNATURE.replace("6rri", "7rri");
    for proof in [
        Some(&*flipped),
        Some("v="),
        Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A=="),
        Some("v=!"),
        Some(""),
        Some("e=invalid-proof"),
        None,
    ] {
        let mut exchange = answered(&pencil()).await;
        let error = exchange.finish(proof.map(str::as_bytes)).await.expect_err("no proof");
        assert!(!error.is_temporary() && !error.to_string().contains("pencil"), "{error}");
        // A second try is none.
        assert!(exchange.finish(Some(SIGNATURE.as_bytes())).await.is_err());
    }
    let mut exchange = answered(&pencil()).await;
    assert!(exchange.respond(flipped.as_bytes()).await.is_err());
    assert!(exchange.finish(None).await.is_err());
    let mut exchange = begun(&pencil()).await;
    assert!(exchange.finish(None).await.is_err(), "success before the password was proved");
}

#[tokio::test]
async fn what_the_server_may_not_ask_for_is_refused() {
    for (first, part) in [
        (format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), "begin with ours"),
        ("r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(), "begin with ours"),
        (FIRST.replace("i=4096", "i=4095"), "4096 to 1000000"),
        (FIRST.replace("i=4096", "i=1000001"), "4096 to 1000000"),
        (FIRST.replace("i=4096", "i=99999999999999999999"), "4096 to 1000000"),
        (FIRST.replace("i=4096", "i=x"), "4096 to 1000000"),
        (FIRST.replace(",i=4096", ""), "iterations"),
        (FIRST.replace("W22Z", "!"), "base64"),
        (FIRST.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), "empty salt"),
        (format!("m=ext,{FIRST}"), "extension"),
        (String::new(), "nonce"),
    ] {
        let mut exchange = begun(&pencil()).await;
        let error = exchange.respond(first.as_bytes()).await.expect_err(&first);
        assert!(error.to_string().contains(part), "{first}: {error}");
        assert!(!error.is_temporary());
    }
    let mut exchange = begun(&pencil()).await;
    assert!(exchange.respond(&[0xff]).await.is_err());
    let mut exchange = answered(&pencil()).await;
    assert!(exchange.respond(FIRST.as_bytes()).await.is_err(), "the first message twice");
}

#[tokio::test]
async fn keys_are_computed_once_for_one_password_and_salt() {
    let scram = pencil();
    let mut exchange = answered(&scram).await;
    assert!(scram.known.0.lock().expect("free").is_none(), "not before the server proved itself");
    exchange.finish(Some(SIGNATURE.as_bytes())).await.expect("verified");
    let first = ServerFirst::parse(FIRST.as_bytes(), NONCE).expect("valid");
    assert!(scram.known.find("pencil", &first).is_some());
    assert!(scram.known.find("pen", &first).is_none());
    let other = ServerFirst { iterations: 5000, ..first };
    assert!(scram.known.find("pencil", &other).is_none());
    answered(&scram).await.finish(Some(SIGNATURE.as_bytes())).await.expect("verified");
}

#[tokio::test]
async fn names_and_passwords_are_prepared() {
    // RFC 4013: a soft hyphen is mapped to nothing, IX is one character.
    assert_eq!(message::prepared("user", Some("I\u{ad}X")).expect("valid"), "IX");
    assert_eq!(message::prepared("user", Some("\u{2168}")).expect("valid"), "IX");
    for text in [None, Some(""), Some("\u{ad}"), Some("\u{7}"), Some("\u{627}1")] {
        assert!(message::prepared("password", text).is_err(), "{text:?}");
    }
    let mut exchange = exchange(&Scram::sha256(Credentials::new("a=b,c", "p")));
    let first = exchange.begin("n".to_owned()).await.expect("credentials");
    assert_eq!(first, b"n,,n=a=3Db=2Cc,r=n");
    let binary = Scram::sha256(Credentials::new("u", vec![0xff]));
    assert!(self::exchange(&binary).begin("n".to_owned()).await.is_err());
}

#[tokio::test]
async fn every_exchange_has_a_nonce_of_its_own() {
    let scram = pencil();
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let first = scram.begin(&attempt()).initial().await.expect("credentials").expect("data");
        let first = String::from_utf8(first).expect("text");
        let nonce = first.strip_prefix("n,,n=user,r=").expect("a nonce").to_owned();
        assert!(nonce.len() == 32 && !nonce.contains(','), "{nonce}");
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", pencil());
    assert!(!shown.contains("pencil"), "{shown}");
}
