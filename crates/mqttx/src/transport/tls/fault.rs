//! What rustls says, in one line that tells what was wrong with what, and what to do.

use std::io;
use std::time::Duration;

use der::DateTime;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::options::TlsOptions;
use crate::transport::error::Fault;

const UNVERIFIED: &str = "connection.tls.unverified";
const CLIENT_CERTIFICATE: &str = "connection.tls.client_certificate";
const INCOMPATIBLE: &str = "connection.tls.incompatible";
const FAILED: &str = "connection.tls.failed";

/// Names of a certificate that an error repeats.
const SHOWN: usize = 8;

/// The error of a stream, told with what is known of the options; what does not come from TLS stays as it is.
pub(super) fn told(error: io::Error, options: &TlsOptions) -> io::Error {
    match of_tls(&error) {
        // The server did speak TLS: something on the way spoilt a record.
        Some(inner @ Error::InvalidMessage(_)) => temporary(&format!("TLS failed: {inner}")).into(),
        Some(inner) => fault(inner, options).into(),
        None => error,
    }
}

/// The same for the handshake, in which the end of the connection means something, too.
pub(super) fn told_of_handshake(error: io::Error, options: &TlsOptions) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken_off("it closed the connection"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            broken_off(&error.to_string())
        }
        _ => match of_tls(&error) {
            Some(inner) => fault(inner, options).into(),
            None => error,
        },
    }
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn broken_off(how: &str) -> io::Error {
    let ask = "does it speak TLS at this port?";
    temporary(&format!("the server broke off the TLS handshake ({how}): {ask}")).into()
}

fn fault(error: &Error, options: &TlsOptions) -> Fault {
    match error {
        Error::InvalidCertificate(error) => permanent(UNVERIFIED, unverified(error, options)),
        Error::AlertReceived(alert) => alerted(*alert, options),
        Error::InvalidMessage(_) => permanent(
            INCOMPATIBLE,
            "the server does not answer in TLS: it speaks plain MQTT at this port (mqtt://, ws://), or \
             something else"
                .to_owned(),
        ),
        Error::NoApplicationProtocol => permanent(INCOMPATIBLE, no_protocol(options)),
        Error::PeerIncompatible(error) => permanent(INCOMPATIBLE, incompatible(error)),
        other => temporary(&format!("TLS failed: {other}")),
    }
}

fn permanent(code: &'static str, text: String) -> Fault {
    Fault { code, permanent: true, text }
}

fn temporary(text: &str) -> Fault {
    Fault { code: FAILED, permanent: false, text: text.to_owned() }
}

/// Why the server's certificate is not believed.
fn unverified(error: &CertificateError, options: &TlsOptions) -> String {
    let why = match error {
        CertificateError::UnknownIssuer => {
            let authorities = authorities(options);
            return format!(
                "the server's certificate was not issued by {authorities}: give the authority with tls.ca (--cafile)"
            );
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!(
                    "the server's certificate is not for {expected}: it has no name at all \
                     (subjectAltName), and a common name is none"
                );
            }
            return format!(
                "the server's certificate is not for {expected}: it is for {}; connect by a name \
                 that it has, or give that one with tls.sni (--sni)",
                names(presented)
            );
        }
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("it expired at {} (now it is {})", date(*not_after), date(*time))
        }
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("it is not valid before {} (now it is {})", date(*not_before), date(*time))
        }
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadSignature => {
            "its signature is wrong: another authority of that name issued it, or it was changed"
                .to_owned()
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is that of an authority, not of a server; to trust it all the same, give it with tls.ca (--cafile)"
                .to_owned()
        }
        // What `openssl x509 -req` makes without extensions.
        other if other.to_string().contains("UnsupportedCertVersion") => {
            "it is of X.509 version 1, which has no room for names (subjectAltName): the server \
             needs another one, of version 3"
                .to_owned()
        }
        other => other.to_string(),
    };
    format!("the server's certificate cannot be verified: {why}")
}

/// Names of a certificate as people write them; rustls gives `DnsName("plant")`. There may be thousands.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let mut text = presented.iter().take(SHOWN).map(bare).collect::<Vec<_>>().join(", ");
    if presented.len() > SHOWN {
        text.push_str(&format!(" and {} more", presented.len() - SHOWN));
    }
    text
}

fn authorities(options: &TlsOptions) -> String {
    match (&options.ca, &options.ca_dir) {
        (None, None) => "an authority that the system trusts".to_owned(),
        (Some(ca), None) => format!("an authority in {ca}"),
        (None, Some(directory)) => format!("an authority in {}", directory.display()),
        (Some(ca), Some(directory)) => {
            format!("an authority in {ca} or {}", directory.display())
        }
    }
}

/// What the server did not like.
fn alerted(alert: AlertDescription, options: &TlsOptions) -> Fault {
    use AlertDescription as Alert;
    let ours = options.cert.as_ref().or(options.p12.as_ref());
    let name = name(alert);
    match (alert, ours) {
        (Alert::CertificateRequired, None) => permanent(
            CLIENT_CERTIFICATE,
            "the server wants a client certificate: give one with tls.cert and tls.key (--cert, --key)".to_owned(),
        ),
        (Alert::HandshakeFailure, None) => permanent(
            INCOMPATIBLE,
            format!(
                "the server refused the handshake ({name}): it wants a client certificate, or none of \
                 our cipher suites and groups"
            ),
        ),
        (
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError,
            ours,
        ) => {
            let ours = ours.map_or_else(
                || "us without a client certificate".to_owned(),
                |cert| format!("our certificate {cert}"),
            );
            permanent(CLIENT_CERTIFICATE, format!("the server refused {ours} ({name})"))
        }
        (Alert::ProtocolVersion, _) => permanent(
            INCOMPATIBLE,
            format!("the server speaks none of our versions of TLS ({name})"),
        ),
        (Alert::NoApplicationProtocol, _) => permanent(INCOMPATIBLE, no_protocol(options)),
        (Alert::UnrecognisedName, _) => permanent(
            UNVERIFIED,
            format!(
                "the server does not know the name it was asked for ({name}): give one with tls.sni (--sni)"
            ),
        ),
        (Alert::HandshakeFailure | Alert::InsufficientSecurity | Alert::IllegalParameter, _) => {
            permanent(
                INCOMPATIBLE,
                format!(
                    "the server refused the handshake ({name}): no common cipher suite, group or certificate type"
                ),
            )
        }
        _ => temporary(&format!("the server ended TLS ({name})")),
    }
}

/// The name of RFC 8446: `unknown_ca`.
fn name(alert: AlertDescription) -> String {
    let mut out = String::new();
    let text = format!("{alert:?}").replace("CA", "Ca").replace("Unrecognised", "Unrecognized");
    for c in text.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn no_protocol(options: &TlsOptions) -> String {
    let asked = options.alpn.join(", ");
    format!("the server speaks none of the protocols of alpn: {asked}")
}

fn incompatible(error: &PeerIncompatible) -> String {
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server speaks none of our versions of TLS".to_owned()
        }
        other => format!("the server and we have no TLS in common: {other:?}"),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = Duration::from_secs(time.as_secs());
    DateTime::from_unix_duration(seconds)
        .map_or_else(|_| format!("{} s", time.as_secs()), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_as(error: Error, options: &TlsOptions) -> Fault {
        let error = told(io::Error::new(io::ErrorKind::InvalidData, error), options);
        let inner = error.into_inner().expect("an error inside");
        *inner.downcast::<Fault>().expect("a fault")
    }

    #[test]
    fn alerts_are_named_and_told_by_what_we_showed() {
        let with = TlsOptions::new().client_certificate("gw.pem", "gw.key");
        for (alert, options, code, part) in [
            (
                AlertDescription::CertificateRequired,
                TlsOptions::new(),
                CLIENT_CERTIFICATE,
                "give one with tls.cert",
            ),
            (
                AlertDescription::UnknownCA,
                with.clone(),
                CLIENT_CERTIFICATE,
                "our certificate gw.pem (unknown_ca)",
            ),
            (
                AlertDescription::HandshakeFailure,
                TlsOptions::new(),
                INCOMPATIBLE,
                "wants a client certificate, or",
            ),
            (AlertDescription::HandshakeFailure, with, INCOMPATIBLE, "handshake_failure"),
            (AlertDescription::ProtocolVersion, TlsOptions::new(), INCOMPATIBLE, "versions of TLS"),
            (
                AlertDescription::UnrecognisedName,
                TlsOptions::new(),
                UNVERIFIED,
                "unrecognized_name",
            ),
        ] {
            let fault = told_as(Error::AlertReceived(alert), &options);
            assert!(
                fault.permanent && fault.code == code && fault.text.contains(part),
                "{fault:?}"
            );
        }
        let passing =
            told_as(Error::AlertReceived(AlertDescription::InternalError), &TlsOptions::new());
        assert!(!passing.permanent, "{passing:?}");
    }

    #[test]
    fn dates_are_told_as_people_read_them() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let error = CertificateError::ExpiredContext {
            time: at(1_800_000_000),
            not_after: at(1_700_000_000),
        };
        let fault = told_as(Error::InvalidCertificate(error), &TlsOptions::new());
        assert!(
            fault.text.contains("expired at 2023-11-14T22:13:20Z (now it is 2027-01-15T"),
            "{fault:?}"
        );
    }

    #[test]
    fn names_are_told_as_people_write_them_and_not_thousands() {
        let presented = [r#"DnsName("plant.example")"#, "IpAddress(127.0.0.1)", "DirectoryName"];
        let presented = presented.map(str::to_owned);
        assert_eq!(names(&presented), "plant.example, 127.0.0.1, DirectoryName");
        let many: Vec<_> = (0..5000).map(|n| format!("DnsName(\"h{n}\")")).collect();
        let text = names(&many);
        assert!(text.starts_with("h0, h1, ") && text.ends_with("h7 and 4992 more"), "{text}");
    }

    #[test]
    fn a_record_that_is_none_means_another_port_only_in_the_handshake() {
        let spoilt = || {
            let inner = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
            io::Error::new(io::ErrorKind::InvalidData, inner)
        };
        for (error, code, is_permanent) in [
            (told_of_handshake(spoilt(), &TlsOptions::new()), INCOMPATIBLE, true),
            (told(spoilt(), &TlsOptions::new()), FAILED, false),
        ] {
            let inner = error.into_inner().expect("an error inside");
            let fault = inner.downcast::<Fault>().expect("a fault");
            assert_eq!((fault.code, fault.permanent), (code, is_permanent), "{fault:?}");
        }
    }

    #[test]
    fn an_end_in_the_handshake_asks_for_the_port() {
        let end = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        let error = told_of_handshake(end, &TlsOptions::new());
        assert!(error.to_string().contains("does it speak TLS at this port?"), "{error}");
    }
}
