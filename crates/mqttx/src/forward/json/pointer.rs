//! JSON Pointers (RFC 6901), parsed once.

use std::fmt;

use super::MAX_DEPTH;

/// The way to a value: `/device/readings/0`; empty for the whole document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::forward) struct Pointer {
    source: Box<str>,
    tokens: Box<[Box<str>]>,
}

impl Pointer {
    /// Takes `~1` for `/` and `~0` for `~`.
    ///
    /// # Errors
    /// It does not begin with a slash, has a `~` before something else, or more than 128 levels.
    pub(in crate::forward) fn parse(source: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        if !source.is_empty() {
            let Some(rest) = source.strip_prefix('/') else {
                return Err("a JSON pointer begins with '/' (RFC 6901)".to_owned());
            };
            for token in rest.split('/') {
                tokens.push(unescape(token)?);
            }
        }
        if tokens.len() > MAX_DEPTH {
            return Err(format!("a JSON pointer may have {MAX_DEPTH} levels"));
        }
        Ok(Self { source: source.into(), tokens: tokens.into() })
    }

    pub(in crate::forward) fn tokens(&self) -> &[Box<str>] {
        &self.tokens
    }

    /// Whether it stands for the whole document.
    pub(in crate::forward) fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// The element of an array that a token names: digits without leading zeros.
pub(super) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0');
    (plain && token.bytes().all(|b| b.is_ascii_digit())).then(|| token.parse().ok())?
}

fn unescape(token: &str) -> Result<Box<str>, String> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'0') => text.push('~'),
            Some(b'1') => text.push('/'),
            _ => {
                return Err(
                    "'~' in a JSON pointer is written '~0', and '/' is written '~1'".to_owned()
                );
            }
        }
        text.push_str(part.get(1..).unwrap_or_default());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(source: &str) -> Vec<String> {
        Pointer::parse(source).unwrap().tokens().iter().map(ToString::to_string).collect()
    }

    /// RFC 6901, section 5.
    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        assert!(Pointer::parse("").unwrap().is_root());
        assert_eq!(tokens("/foo/0"), ["foo", "0"]);
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/a~1b"), ["a/b"]);
        assert_eq!(tokens("/m~0n"), ["m~n"]);
        assert_eq!(tokens("/~01"), ["~1"]);
        assert_eq!(tokens("/ä~1/"), ["ä/", ""]);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for wrong in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert!(Pointer::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Pointer::parse(&"/a".repeat(128)).is_ok());
        assert!(Pointer::parse(&"/a".repeat(129)).is_err());
    }

    #[test]
    fn elements_are_counted_without_leading_zeros() {
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("12"), Some(12));
        for wrong in ["", "01", "-", "-1", "+1", "a", "99999999999999999999999"] {
            assert_eq!(index(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_pointer_or_an_error(source in "(/|~|[a0-9é])*") {
            if let Ok(pointer) = Pointer::parse(&source) {
                let again: String = pointer
                    .tokens()
                    .iter()
                    .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
                    .collect();
                prop_assert_eq!(again, source);
            }
        }
    }
}
