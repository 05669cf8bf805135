//! The tables of all files, sorted by what they are.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolate::{Expansion, Sources};
use super::near;
use super::report::Report;
use super::source::SourceFile;

/// One table of one file.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub(super) file: usize,
    /// Its last key.
    pub(super) name: String,
    /// Where the key stands.
    pub(super) key: Range<usize>,
    pub(super) span: Range<usize>,
    pub(super) table: DeTable<'a>,
    /// The values that came from the environment or from files.
    pub(super) taken: Vec<Range<usize>>,
}

/// Everything that the files define.
#[derive(Default)]
pub(super) struct Layout<'a> {
    pub(super) daemon: Option<Part<'a>>,
    pub(super) http: Option<Part<'a>>,
    pub(super) log: Option<Part<'a>>,
    pub(super) session_defaults: Option<Part<'a>>,
    pub(super) sessions: Vec<Part<'a>>,
    pub(super) fleets: Vec<Part<'a>>,
    pub(super) forwarders: Vec<Part<'a>>,
    pub(super) stores: Vec<Part<'a>>,
}

const TABLES: [&str; 8] =
    ["daemon", "defaults", "fleets", "forwarders", "http", "log", "sessions", "stores"];

impl<'a> Layout<'a> {
    pub(super) fn of(files: &'a [SourceFile], report: &mut Report<'_>) -> Self {
        let mut layout = Self::default();
        for (file, source) in files.iter().enumerate() {
            let (root, errors) = DeTable::parse_recoverable(&source.text);
            for error in errors {
                let span = error.span().unwrap_or_default();
                let message = match (error.message(), source.text.get(span.clone())) {
                    ("duplicate key", Some(key)) => format!("'{key}' is defined twice"),
                    (message, _) => message.to_owned(),
                };
                report.add_syntax(file, &span, &message);
            }
            let mut root = root.into_inner();
            let environment = |name: &str| std::env::var(name).ok();
            let sources = Sources { environment: &environment, directory: source.directory() };
            let mut expansion = Expansion::new(sources);
            expansion.table(&mut root);
            for (span, message) in &expansion.problems {
                report.add(file, span, message.as_str());
            }
            layout.sort(file, root, &expansion.taken, report);
        }
        layout
    }

    fn sort(
        &mut self,
        file: usize,
        root: DeTable<'a>,
        taken: &[Range<usize>],
        report: &mut Report<'_>,
    ) {
        for (key, value) in root {
            if !TABLES.contains(&&**key.get_ref()) {
                report.add(file, &key.span(), near::unknown("key", key.get_ref(), TABLES));
                continue;
            }
            let Some(part) = Part::new(file, key, value, taken, report) else { continue };
            match part.name.as_str() {
                "daemon" => put(&mut self.daemon, part, report),
                "http" => put(&mut self.http, part, report),
                "log" => put(&mut self.log, part, report),
                "defaults" => {
                    for (key, value) in part.table {
                        if key.get_ref() != "session" {
                            let message = near::unknown("key", key.get_ref(), ["session"]);
                            let message =
                                format!("{message}; [defaults.session] has those of sessions");
                            report.add(file, &key.span(), message);
                        } else if let Some(part) = Part::new(file, key, value, taken, report) {
                            put(&mut self.session_defaults, part, report);
                        }
                    }
                }
                "sessions" => add(&mut self.sessions, part.children(report), report),
                "fleets" => add(&mut self.fleets, part.children(report), report),
                "stores" => add(&mut self.stores, part.children(report), report),
                // "forwarders": no other is left of them.
                _ => add(&mut self.forwarders, part.children(report), report),
            }
        }
    }
}

impl<'a> Part<'a> {
    /// `None`, reported, when the value is not a table.
    fn new(
        file: usize,
        key: Spanned<std::borrow::Cow<'a, str>>,
        value: Spanned<DeValue<'a>>,
        taken: &[Range<usize>],
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let (key_span, span) = (key.span(), value.span());
        let name = key.into_inner().into_owned();
        match value.into_inner() {
            DeValue::Table(table) => {
                Some(Self { file, name, key: key_span, span, table, taken: taken.to_owned() })
            }
            _ if TABLES.contains(&name.as_str()) => {
                let many = ["fleets", "forwarders", "sessions", "stores"].contains(&name.as_str());
                let key = if many { ".NAME" } else { "" };
                report.add(file, &span, format!("'{name}' is a table: [{name}{key}]"));
                None
            }
            other => {
                let message = format!("'{name}' is a table, not {}", other.type_str());
                report.add(file, &key_span, message);
                None
            }
        }
    }

    fn children(self, report: &mut Report<'_>) -> Vec<Self> {
        let Self { file, table, taken, .. } = self;
        let parts = table.into_iter();
        parts.filter_map(|(key, value)| Self::new(file, key, value, &taken, report)).collect()
    }
}

fn put<'a>(slot: &mut Option<Part<'a>>, part: Part<'a>, report: &mut Report<'_>) {
    match slot {
        Some(known) => say_twice(known, &part, report),
        None => *slot = Some(part),
    }
}

fn say_twice(known: &Part<'_>, part: &Part<'_>, report: &mut Report<'_>) {
    let place = report.place(known.file, &known.key);
    let message = format!("'{}' is defined in another file, too: {place}", part.name);
    report.add(part.file, &part.key, message);
}

fn add<'a>(parts: &mut Vec<Part<'a>>, new: Vec<Part<'a>>, report: &mut Report<'_>) {
    for part in new {
        if part.name.is_empty() {
            report.add(part.file, &part.key, "the name is empty");
        } else if let Some(known) = parts.iter().find(|known| known.name == part.name) {
            say_twice(known, &part, report);
        } else {
            parts.push(part);
        }
    }
}
