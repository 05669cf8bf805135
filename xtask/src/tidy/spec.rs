//! The specification's statements: cited ones exist, listed ones are tested or say why not.

use super::Problem;
use super::lexer::{find_word, line_of};
use super::tree::Tree;
use std::collections::BTreeSet;

/// The list of statements and the tests that prove them.
const LIST: &str = "spec/mqtt.toml";

/// Every citation without a statement, and every statement that lacks what it must have.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let statements = match tree.file(LIST).map(|file| parse(&file.text)) {
        None => return vec![Problem::new(LIST, 1, "is missing")],
        Some(Err(problem)) => return vec![problem],
        Some(Ok(statements)) => statements,
    };
    let tests = test_names(tree);
    let mut seen = BTreeSet::new();
    for statement in &statements {
        problems.extend(statement.problems(&tests));
        for version in statement.versions() {
            if !seen.insert((statement.id.as_str(), version)) {
                let text = format!("{} stands twice for MQTT {version}", statement.id);
                problems.push(Problem::new(LIST, statement.line, text));
            }
        }
    }
    let known: BTreeSet<&str> = statements.iter().map(|statement| statement.id.as_str()).collect();
    for file in tree.rust().filter(|file| !file.path.starts_with("xtask/")) {
        for (at, id) in citations(&file.text) {
            if !known.contains(id) {
                let text = format!("cites {id}, which {LIST} does not list");
                problems.push(Problem::new(&file.path, line_of(&file.text, at), text));
            }
        }
    }
    problems
}

/// How many statements are proved by tests.
pub(super) fn summary(tree: &Tree) -> String {
    let parsed = tree.file(LIST).and_then(|file| parse(&file.text).ok());
    let statements = parsed.unwrap_or_default();
    let tested = statements.iter().filter(|statement| !statement.tests.is_empty()).count();
    format!("{tested} of {} statements tested", statements.len())
}

/// One `[[statement]]`.
#[derive(Default)]
struct Statement {
    line: usize,
    id: String,
    version: String,
    text: String,
    tests: Vec<String>,
    untested: Option<String>,
}

impl Statement {
    fn problems(&self, known_tests: &BTreeSet<String>) -> Vec<Problem> {
        let mut texts = Vec::new();
        if !is_id(&self.id) {
            texts.push(format!("`{}` is not the id of a statement", self.id));
        }
        if self.versions().is_empty() {
            texts.push(format!("{}: version must be \"5\", \"3.1.1\" or \"both\"", self.id));
        }
        if self.text.is_empty() {
            texts.push(format!("{}: text is missing", self.id));
        }
        let reason = self.untested.as_deref().map(str::trim);
        match (self.tests.is_empty(), reason) {
            (true, None | Some("")) => {
                texts.push(format!("{}: names no tests and no reason in `untested`", self.id));
            }
            (false, Some(_)) => texts.push(format!("{}: has tests and `untested`", self.id)),
            _ => {}
        }
        let unknown = self.tests.iter().filter(|&test| !known_tests.contains(test));
        texts.extend(unknown.map(|test| format!("{}: there is no test `{test}`", self.id)));
        texts.into_iter().map(|text| Problem::new(LIST, self.line, text)).collect()
    }

    fn versions(&self) -> &'static [&'static str] {
        match self.version.as_str() {
            "5" => &["5"],
            "3.1.1" => &["3.1.1"],
            "both" => &["3.1.1", "5"],
            _ => &[],
        }
    }
}

/// Reads the list: `[[statement]]` tables with one `key = value` a line, where a value is a string
/// or a list of strings that may go over several lines. The rest of TOML is not needed here.
fn parse(text: &str) -> Result<Vec<Statement>, Problem> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        let failed = |text: String| Problem::new(LIST, number, text);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[statement]]" {
            statements.push(Statement { line: number, ..Statement::default() });
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(failed(format!("expected `key = value`, not `{line}`")));
        };
        let Some(statement) = statements.last_mut() else {
            return Err(failed("a key before the first [[statement]]".to_owned()));
        };
        let mut value = value.trim().to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            let Some((_, more)) = lines.next() else {
                return Err(failed("the list does not end".to_owned()));
            };
            value.push_str(more.trim());
        }
        match key.trim() {
            "id" => statement.id = string(&value).map_err(failed)?,
            "version" => statement.version = string(&value).map_err(failed)?,
            "text" => statement.text = string(&value).map_err(failed)?,
            "untested" => statement.untested = Some(string(&value).map_err(failed)?),
            "tests" => statement.tests = list(&value).map_err(failed)?,
            other => return Err(failed(format!("unknown key `{other}`"))),
        }
    }
    Ok(statements)
}

fn string(value: &str) -> Result<String, String> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains(['"', '\\']) => Ok(inner.to_owned()),
        _ => Err(format!("expected a plain string in quotes, not `{value}`")),
    }
}

fn list(value: &str) -> Result<Vec<String>, String> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("expected a list, not `{value}`"))?;
    inner.split(',').map(str::trim).filter(|part| !part.is_empty()).map(string).collect()
}

/// The statement ids in a text, with their places.
fn citations(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("[MQTT-").filter_map(|(at, _)| {
        let inner = &text[at + 1..];
        let id = &inner[..inner.find(']')?];
        // `[MQTT-…]` names no id, and `[MQTT-4.3]` a section.
        let named = &id["MQTT-".len()..];
        let statement = named.starts_with(|c: char| c.is_ascii_digit()) && named.contains('-');
        statement.then_some((at, id))
    })
}

/// `MQTT-3.1.2-24` or, where the specification numbers so, `MQTT-4.2-1`.
fn is_id(id: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((section, statement)) = id.strip_prefix("MQTT-").and_then(|id| id.split_once('-'))
    else {
        return false;
    };
    let depth = section.split('.').count();
    (2..=3).contains(&depth) && section.split('.').all(number) && number(statement)
}

/// The names of all functions in test code.
fn test_names(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree.rust() {
        let code = file.test_code();
        for at in find_word(&code, "fn") {
            let name = code[at + "fn".len()..].trim_start();
            let end = name.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(name.len());
            names.insert(name[..end].to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# list\n[[statement]]\nid = \"MQTT-3.1.0-1\"\nversion = \"both\"\n\
                        text = \"CONNECT first\"\ntests = [\n    \"connect_is_first\",\n]\n";
    const TEST: (&str, &str) = ("crates/a/tests/flow.rs", "#[test]\nfn connect_is_first() {}\n");

    fn problems(list: &str, more: &[(&str, &str)]) -> String {
        let mut files = vec![(LIST, list), TEST];
        files.extend(more);
        let found = check(&Tree::of(&files));
        found.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn complete_list_has_no_problems() {
        let cited = "// [MQTT-3.1.0-1], [MQTT-…] and section [MQTT-4.3]\n";
        assert_eq!(problems(GOOD, &[("src/a.rs", cited)]), "");
    }

    #[test]
    fn citation_of_an_unknown_statement_is_found() {
        let found = problems(GOOD, &[("src/a.rs", "\n/// [MQTT-9.9.9-1]\nfn a() {}\n")]);
        assert!(found.contains("src/a.rs:2: cites MQTT-9.9.9-1"), "{found}");
    }

    #[test]
    fn missing_test_is_found() {
        let found = problems(&GOOD.replace("is_first", "is_last"), &[]);
        assert!(found.contains("spec/mqtt.toml:2: MQTT-3.1.0-1: there is no test"), "{found}");
    }

    #[test]
    fn production_function_is_not_a_test() {
        let list = GOOD.replace("connect_is_first", "connect");
        assert!(problems(&list, &[("src/a.rs", "fn connect() {}\n")]).contains("there is no test"));
    }

    #[test]
    fn statement_needs_tests_or_a_reason_and_not_both() {
        let start = "[[statement]]\nid = \"MQTT-1.0.0-1\"\nversion = \"5\"\ntext = \"t\"\n";
        assert!(problems(start, &[]).contains("no tests and no reason"));
        assert!(problems(&format!("{start}untested = \" \"\n"), &[]).contains("no reason"));
        assert_eq!(problems(&format!("{start}untested = \"the server's\"\n"), &[]), "");
        let both = format!("{start}untested = \"x\"\ntests = [\"connect_is_first\"]\n");
        assert!(problems(&both, &[]).contains("has tests and `untested`"));
    }

    #[test]
    fn one_id_may_differ_between_versions_but_stands_once_for_each() {
        let one = |version: &str| GOOD.replace("\"both\"", &format!("\"{version}\""));
        assert_eq!(problems(&format!("{}{}", one("5"), one("3.1.1")), &[]), "");
        assert!(problems(&format!("{}{}", one("5"), one("both")), &[]).contains("stands twice"));
    }

    #[test]
    fn malformed_list_names_its_line() {
        assert!(problems("[[statement]]\nid = 5\n", &[]).contains("spec/mqtt.toml:2:"));
        assert!(problems("[[statement]]\nwhat = \"x\"\n", &[]).contains("unknown key `what`"));
    }

    #[test]
    fn ids_have_a_section_and_a_number() {
        assert!(is_id("MQTT-4.13.1-1") && is_id("MQTT-4.2-1"));
        for wrong in ["MQTT-4-1", "MQTT-4.13.1", "MQTT-a.1.2-3", "4.13.1-1", "MQTT-1.2.3-"] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }
}
