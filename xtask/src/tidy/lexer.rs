//! Just enough of Rust's lexical rules to tell code from comments, literals and tests.

/// The text with comments and the insides of string and character literals blanked.
///
/// Line breaks stay where they are, so that line numbers hold.
pub(super) fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&current) = characters.get(at) {
        let rest = &characters[at..];
        let blank = match current {
            '/' if rest.get(1) == Some(&'/') => line_comment(rest),
            '/' if rest.get(1) == Some(&'*') => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !ends_with_identifier(&out) => prefixed_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if blank == 0 {
            out.push(current);
            at += 1;
        } else {
            out.extend(rest[..blank].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at += blank;
        }
    }
    out
}

/// The code with every item under `#[cfg(test)]` blanked; `code` comes from [`code_only`].
pub(super) fn without_test_items(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let (before, item) = rest.split_at(start);
        out.push_str(before);
        let (item, after) = item.split_at(item_end(item));
        out.extend(item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Every place where `word` stands in `code` and is not part of a longer identifier.
pub(super) fn find_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts_open = word.starts_with(is_identifier);
    let ends_open = word.ends_with(is_identifier);
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back().is_some_and(is_identifier);
        let after = code[at + word.len()..].chars().next().is_some_and(is_identifier);
        !(starts_open && before || ends_open && after)
    })
}

fn is_identifier(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn ends_with_identifier(out: &str) -> bool {
    out.ends_with(is_identifier)
}

/// The end of the item at the start of `code`: its closing brace, or a semicolon before any brace.
fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    for (at, character) in code.char_indices() {
        match character {
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets = brackets.saturating_sub(1),
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn line_comment(rest: &[char]) -> usize {
    rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while let Some(&character) = rest.get(at) {
        match character {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a literal like `b"…"`, `r#"…"#` or `b'x'`; 0 when it is an identifier.
fn prefixed_string(rest: &[char]) -> usize {
    let prefix = rest.iter().take(2).take_while(|c| "rbc".contains(**c)).count();
    let raw = rest[..prefix].contains(&'r');
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    match rest.get(prefix + hashes) {
        Some('"') if raw => {
            let body = prefix + hashes + 1;
            let closes = |at: &usize| {
                rest[*at] == '"'
                    && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
            };
            (body..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
        }
        Some('"') if hashes == 0 => prefix + string(&rest[prefix..]),
        Some('\'') if hashes == 0 && rest[0] == 'b' && prefix == 1 => 1 + character(&rest[1..]),
        _ => 0,
    }
}

/// The length of a character literal; 0 when the quote starts a lifetime.
fn character(rest: &[char]) -> usize {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), _) => {
            let end = rest.iter().skip(3).position(|&c| c == '\'');
            end.map_or(rest.len(), |at| at + 4)
        }
        (Some(_), Some('\'')) => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "let a = \"x // y\"; // tokio\n/* tokio /* \n */ */ let b = 'c';\n";
        let code = code_only(text);
        assert!(!code.contains("tokio") && !code.contains('x') && !code.contains("'c'"), "{code}");
        assert!(code.contains("let a =") && code.contains("let b ="), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn raw_byte_and_escaped_literals_end_where_they_end() {
        for literal in [
            "r#\"a \" tokio\"#",
            "b\"tokio\\\"\"",
            "\"\\\\\"",
            "b'\\''",
            "'\\u{1F600}'",
            "br\"\\\"",
        ] {
            let code = code_only(&format!("f({literal}) + keep"));
            assert_eq!(code.split_whitespace().collect::<String>(), "f()+keep", "{literal}");
        }
    }

    #[test]
    fn lifetimes_and_identifiers_with_prefix_letters_are_code() {
        let text = "fn rb<'a>(bar: &'a str, c: &'static B) -> r { br(c) }";
        assert_eq!(code_only(text), text);
    }

    #[test]
    fn test_items_are_blanked_to_their_end() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n\
                    #[cfg(test)]\nuse x::{y, z};\nfn d() {}\n#[cfg(test)] const N: [u8; 2] = [0; 2];\nfn e() {}\n";
        let production = without_test_items(code);
        for gone in ["fn b", "use x", "const N", "fn y"] {
            assert!(!production.contains(gone), "{gone} in {production}");
        }
        for kept in ["fn a", "fn c", "fn d", "fn e"] {
            assert!(production.contains(kept), "{kept} not in {production}");
        }
        assert_eq!(production.lines().count(), code.lines().count());
    }

    #[test]
    fn words_are_found_whole() {
        let code = "rand operand rand::x brand";
        assert_eq!(find_word(code, "rand").count(), 2);
        assert_eq!(find_word(code, "rand::").count(), 1);
    }
}
