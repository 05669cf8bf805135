//! What must not be seen: secrets, by the names of their keys, and credentials in addresses.

/// What stands for a secret.
pub(super) const HIDDEN: &str = "***";

/// Keys whose values are never shown. The paths of files with secrets are.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    const WORDS: [&str; 12] = [
        "password",
        "passwd",
        "token",
        "secret",
        "passphrase",
        "credential",
        "private",
        "api_key",
        "api-key",
        "authorization",
        // Of the handshake of a WebSocket: any of its fields may be what lets the client in.
        "headers",
        "user_properties",
    ];
    WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("_file")
}

/// `scheme://user:password@host?query` without what stands between, and without the query, which may be a secret, too.
pub(super) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // Also in what looks like a path: a password may hold a slash that somebody forgot to encode.
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(u, place)| (Some(u), place));
    match (user, place.split_once('?')) {
        // Password or query: nobody can say where one ends.
        (Some(user), _) if user.contains('?') => format!("{scheme}://{HIDDEN}"),
        (Some(_), Some((place, _))) => format!("{scheme}://{HIDDEN}@{place}?{HIDDEN}"),
        (Some(_), None) => format!("{scheme}://{HIDDEN}@{place}"),
        (None, Some((place, _))) => format!("{scheme}://{place}?{HIDDEN}"),
        (None, None) => text.to_owned(),
    }
}

/// A message that quotes the file: whatever was written in the wrong place may be an address with credentials.
pub(super) fn in_message(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for word in message.split_inclusive([' ', '"', '\'']) {
        let address = word.trim_end_matches([' ', '"', '\'', ':', ',']);
        match address.contains(HIDDEN) {
            true => shown.push_str(address),
            false => shown.push_str(&without_credentials(address)),
        }
        shown.push_str(&word[address.len()..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_addresses_are_left_out() {
        for (text, shown) in [
            ("mqtt://u:p@h:1883", "mqtt://***@h:1883"),
            ("mqtt://h:1883", "mqtt://h:1883"),
            ("redis://:p/w@h/1", "redis://***@h/1"),
            ("redis+sentinel://a,b/m", "redis+sentinel://a,b/m"),
            ("http://u:p%40@h?x", "http://***@h?***"),
            ("wss://h/mqtt?token=geheim", "wss://h/mqtt?***"),
            ("wss://h/mqtt?user=a@b", "wss://***"),
            ("redis://:p@s/w@h/1", "redis://***@h/1"),
            ("redis://:p?w@h/1", "redis://***"),
            ("line/+/sensor", "line/+/sensor"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }

    #[test]
    fn credentials_in_a_message_are_left_out() {
        for (text, shown) in [
            (
                "unknown store 'redis://u:p@h': known are r",
                "unknown store 'redis://***@h': known are r",
            ),
            (
                "a = mqtt://u:***@h: b is a URL like mqtt://h:1",
                "a = mqtt://u:***@h: b is a URL like mqtt://h:1",
            ),
            ("two \"a://b@c\" and 'd://e@f g'", "two \"a://***@c\" and 'd://***@f g'"),
            ("a = mqtt://h?token=x: no query", "a = mqtt://h?***: no query"),
            ("a@b c://d", "a@b c://d"),
        ] {
            assert_eq!(in_message(text), shown, "{text}");
        }
    }

    #[test]
    fn keys_of_secrets_are_known() {
        for name in ["password", "key_password", "token", "client_secret", "API_TOKEN", "headers"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["password_file", "token_file", "key", "topics", "username"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
