//! The command line before and after the parser: `-D` with its varying number of values, and
//! errors as one line.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::exit::Failure;
use crate::flags::without_password;

/// Separates the words of one `-D` inside its argument: no argument of a process can contain it.
pub(crate) const WORD_BREAK: char = '\0';

/// Joins the three or four words behind every `-D` into one argument.
///
/// Their number depends on the property (`user-property` has a key and a value) and a word may
/// begin with a dash, which no argument parser can count.
pub(crate) fn join_properties(
    root: &Command,
    argv: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut command = root;
    let mut argv = argv.into_iter();
    let mut joined: Vec<OsString> = argv.next().into_iter().collect();
    while let Some(word) = argv.next() {
        if word == "--" {
            joined.push(word);
            joined.extend(argv);
            break;
        }
        match option(command, &word) {
            Some(arg) if arg.get_id() == "property" => {
                joined.push(word);
                joined.push(property_words(&mut argv));
            }
            Some(arg) if arg.get_action().takes_values() => {
                joined.push(word);
                joined.extend(argv.next());
            }
            _ => {
                if let Some(inner) = word.to_str().and_then(|w| command.find_subcommand(w)) {
                    command = inner;
                }
                joined.push(word);
            }
        }
    }
    joined
}

/// The option that this word is, if it is one with its value in the next word.
fn option<'c>(command: &'c Command, word: &OsStr) -> Option<&'c Arg> {
    let word = word.to_str()?;
    let mut options = command.get_arguments();
    if let Some(long) = word.strip_prefix("--") {
        options.find(|arg| arg.get_long() == Some(long))
    } else {
        let mut flags = word.strip_prefix('-')?.chars();
        let (short, rest) = (flags.next()?, flags.next());
        options.find(|arg| rest.is_none() && arg.get_short() == Some(short))
    }
}

fn property_words(argv: &mut impl Iterator<Item = OsString>) -> OsString {
    let mut words: Vec<OsString> = argv.take(2).collect();
    let values = if words.get(1).is_some_and(|name| name.eq_ignore_ascii_case("user-property")) {
        2
    } else {
        1
    };
    words.extend(argv.take(values));
    words.join(OsStr::new("\0"))
}

/// The parser's complaint as one line with the way out; `None` for `--help` and `--version`.
pub(crate) fn usage_failure(error: &clap::Error) -> Option<Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .collect();
    // What is missing stands in lines of its own.
    let mut message = lines.join("; ").replace(":; ", ": ");
    // The words of a -D, which the parser shows without what joins them, and the password of a URL.
    if let Some(ContextValue::String(words)) = error.get(ContextKind::InvalidValue) {
        let shown: String = words.split(WORD_BREAK).collect();
        message = message.replacen(&shown, &without_password(&words.replace(WORD_BREAK, " ")), 1);
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Some(Failure::usage(format_args!("{message} (see --help)")))
}
