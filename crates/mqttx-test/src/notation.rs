//! A notation in which a packet can be written down and read.

/// The bytes that a script describes.
///
/// - `20 02` or `2002`: bytes in hexadecimal;
/// - `'text'`: the bytes of the text;
/// - `<text>`: the text with its length in two bytes before it, as MQTT writes strings;
/// - `{ … }`: the content with its length before it as a variable byte integer, as MQTT writes the
///   remaining length and the property length.
///
/// White space between the parts means nothing.
///
/// ```
/// use mqttx_test::hex;
/// assert_eq!(hex("20 { 00 00 {} }"), [0x20, 3, 0, 0, 0]);
/// assert_eq!(hex("30 { <a/b> 'hi' }"), [0x30, 7, 0, 3, b'a', b'/', b'b', b'h', b'i']);
/// ```
///
/// # Panics
/// When the script does not follow the notation; the message says where.
#[must_use]
pub fn hex(script: &str) -> Vec<u8> {
    let mut parser = Parser { script, rest: script };
    let bytes = parser.sequence();
    assert!(parser.rest.is_empty(), "`}}` without `{{`: {}", parser.place());
    bytes
}

/// Bytes as a person compares them: hexadecimal, and the printable ones as text after it.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    const LIMIT: usize = 256;
    let part = &bytes[..bytes.len().min(LIMIT)];
    let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let printable = |&byte: &u8| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' };
    let text: String = part.iter().map(printable).collect();
    let more = if bytes.len() > LIMIT { " …" } else { "" };
    format!("[{} bytes] {}{more}  |{text}{more}|", bytes.len(), hex.join(" "))
}

struct Parser<'a> {
    script: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    /// Everything up to a closing brace or the end.
    fn sequence(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some('}') => return bytes,
                Some('{') => {
                    self.rest = &self.rest[1..];
                    let inner = self.sequence();
                    assert!(self.rest.starts_with('}'), "`{{` without `}}`: {}", self.place());
                    self.rest = &self.rest[1..];
                    crate::wire::append_varint(&mut bytes, inner.len());
                    bytes.extend(inner);
                }
                Some('\'') => bytes.extend(self.quoted('\'').as_bytes()),
                Some('<') => {
                    let text = self.quoted('>');
                    let length =
                        u16::try_from(text.len()).expect("a string of 65535 bytes at most");
                    bytes.extend(length.to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
                Some(_) => bytes.push(self.byte()),
            }
        }
    }

    /// The text between the opening character, which is next, and `close`.
    fn quoted(&mut self, close: char) -> String {
        let inner = &self.rest[1..];
        let end = inner.find(close);
        let end = end.unwrap_or_else(|| panic!("no closing `{close}`: {}", self.place()));
        let text = inner[..end].to_owned();
        self.rest = &inner[end + 1..];
        text
    }

    fn byte(&mut self) -> u8 {
        let digits = self.rest.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let byte = digits.unwrap_or_else(|| panic!("expected two digits: {}", self.place()));
        self.rest = &self.rest[2..];
        byte
    }

    fn place(&self) -> String {
        let at = self.script.len() - self.rest.len();
        format!("byte {at} of `{}`, before `{}`", self.script, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lengths_count_what_they_hold() {
        let bytes = hex("82 { 00 0a { 0b 07 } <a/#> 01 }");
        assert_eq!(bytes, [0x82, 11, 0, 10, 2, 0x0b, 7, 0, 3, b'a', b'/', b'#', 1]);
    }

    #[test]
    fn long_content_has_a_long_length() {
        let bytes = hex(&format!("30 {{ <t> '{}' }}", "x".repeat(200)));
        assert_eq!(&bytes[..3], [0x30, 0xcb, 0x01]);
    }

    #[test]
    fn digits_may_stand_together() {
        assert_eq!(hex("20020000"), [0x20, 2, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "expected two digits: byte 3")]
    fn wrong_digit_is_named() {
        let _ = hex("20 0x");
    }

    #[test]
    #[should_panic(expected = "without `}`")]
    fn open_brace_is_named() {
        let _ = hex("20 { 00");
    }

    #[test]
    fn shown_bytes_are_digits_and_text() {
        assert_eq!(shown(b"\x30a"), "[2 bytes] 30 61  |0a|");
    }
}
