//! `${env:X}` and `${file:PATH}` inside strings.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where values of strings come from.
pub(super) struct Sources<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Relative paths count from here.
    pub(super) directory: &'a Path,
}

/// Expands every string of a table. What was taken from outside is listed in `taken`, so that no error
/// shows it; what went wrong in `problems`.
pub(super) struct Expansion<'a> {
    pub(super) sources: Sources<'a>,
    pub(super) taken: Vec<Range<usize>>,
    pub(super) problems: Vec<(Range<usize>, String)>,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(sources: Sources<'a>) -> Self {
        Self { sources, taken: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn table(&mut self, table: &mut DeTable<'_>) {
        for (_, value) in table.iter_mut() {
            self.value(value);
        }
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains('$') => match expand(text, &self.sources) {
                Ok(expanded) => {
                    if expanded.is_foreign {
                        self.taken.push(span);
                    }
                    *text = expanded.text.into();
                }
                Err(message) => self.problems.push((span, message)),
            },
            DeValue::Array(array) => {
                for element in array.iter_mut() {
                    self.value(element);
                }
            }
            DeValue::Table(table) => self.table(table),
            _ => {}
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Expanded {
    text: String,
    is_foreign: bool,
}

/// `$$` is a dollar sign; one that stands alone is itself, as in `$SYS/#` and `$share/…`.
fn expand(text: &str, sources: &Sources<'_>) -> Result<Expanded, String> {
    let mut out = Expanded { text: String::with_capacity(text.len()), is_foreign: false };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        out.text.push_str(before);
        if let Some(after) = dollar.strip_prefix("$$") {
            out.text.push('$');
            rest = after;
        } else if let Some(opened) = dollar.strip_prefix("${") {
            let Some((inner, after)) = opened.split_once('}') else {
                return Err("'${' without '}' (a literal '$' is written '$$')".to_owned());
            };
            out.text.push_str(&evaluate(inner, sources)?);
            out.is_foreign = true;
            rest = after;
        } else {
            out.text.push('$');
            rest = dollar.get(1..).unwrap_or_default();
        }
    }
    out.text.push_str(rest);
    Ok(out)
}

fn evaluate(inner: &str, sources: &Sources<'_>) -> Result<String, String> {
    if let Some(path) = inner.strip_prefix("file:") {
        return file(&sources.directory.join(path));
    }
    let Some(variable) = inner.strip_prefix("env:") else {
        return Err(format!(
            "unknown '${{{inner}}}': allowed are ${{env:X}}, ${{env:X:-default}}, ${{env:X:?message}}, \
             ${{file:PATH}}"
        ));
    };
    let (name, otherwise) = match variable.split_once(':') {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (variable, None),
    };
    if name.is_empty() {
        return Err(format!("'${{{inner}}}' names no variable"));
    }
    let value = (sources.environment)(name);
    match otherwise.map(|text| text.split_at_checked(1).unwrap_or(("", text))) {
        None => value.ok_or_else(|| format!("the environment variable '{name}' is not set")),
        // As in a shell, a variable that is set but empty counts as not set here.
        Some(("-", default)) => {
            Ok(value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned()))
        }
        Some(("?", message)) => value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("the environment variable '{name}' is not set: {message}")),
        Some(_) => {
            Err(format!("'${{{inner}}}': after the name ':-default' or ':?message' is allowed"))
        }
    }
}

fn file(path: &Path) -> Result<String, String> {
    let mut text = std::fs::read_to_string(path)
        .map_err(|error| format!("'{}' cannot be read: {error}", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<String, String> {
        let environment = |name: &str| match name {
            "SITE" => Some("lab".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${env:SITE}".to_owned()),
            _ => None,
        };
        let directory = std::env::temp_dir();
        let sources = Sources { environment: &environment, directory: &directory };
        expand(text, &sources).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, expected) in [
            ("gw-${env:SITE}-plant", "gw-lab-plant"),
            ("${env:NONE:-lab}", "lab"),
            ("${env:NONE:-}", ""),
            ("${env:EMPTY:-x}", "x"),
            ("${env:EMPTY}", ""),
            ("${env:SITE:?needed}", "lab"),
            ("${env:DOLLAR}", "${env:SITE}"),
            ("$$", "$"),
            ("$${env:SITE}", "${env:SITE}"),
            ("$SYS/#", "$SYS/#"),
            ("$share/g/a", "$share/g/a"),
            ("a$", "a$"),
            ("${env:SITE}${env:SITE}", "lablab"),
            ("ü${env:SITE}ü", "ülabü"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        for (text, part) in [
            ("${env:NONE}", "'NONE' is not set"),
            ("${env:NONE:?set it to the site}", "set it to the site"),
            ("${env:EMPTY:?x}", "is not set: x"),
            ("${env:}", "names no variable"),
            ("${env:X:+y}", "':-default' or ':?message'"),
            ("${home}", "unknown '${home}'"),
            ("${env:SITE", "without '}'"),
            ("${file:does-not-exist-anywhere}", "cannot be read"),
        ] {
            let message = one(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_file_loses_one_newline() {
        let directory = std::env::temp_dir().join(format!("mqttx-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("secret"), "s3cret\n\n").unwrap();
        let sources = Sources { environment: &|_| None, directory: &directory };
        let expanded = expand("${file:secret}", &sources).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(expanded, Expanded { text: "s3cret\n".to_owned(), is_foreign: true });
    }
}
