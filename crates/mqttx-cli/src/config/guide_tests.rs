//! Every configuration in the README and the guides is read as the daemon would read it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mqttx_test::{Pki, TempDir};

use super::*;

/// A block of TOML in a guide.
struct Block {
    /// The file and the line.
    place: String,
    text: String,
}

fn guides() -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(project.join("docs")).expect("the guides");
    let mut guides: Vec<PathBuf> = docs.map(|entry| entry.expect("a file").path()).collect();
    guides.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    guides.push(project.join("README.md"));
    guides.sort();
    guides
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for path in guides() {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut inside = false;
        for (line, content) in (1..).zip(text.lines()) {
            match (inside, content) {
                (false, "```toml") => {
                    let place = format!("{}:{line}", path.display());
                    blocks.push(Block { place, text: String::new() });
                    inside = true;
                }
                (true, "```") => inside = false,
                (true, _) => {
                    let block = blocks.last_mut().expect("it has begun");
                    writeln!(block.text, "{content}").expect("memory");
                }
                (false, _) => {}
            }
        }
        assert!(!inside, "{} ends inside a block", path.display());
    }
    blocks
}

/// What a block takes for granted: sessions and stores that it names and does not define.
fn rest(block: &str) -> String {
    let value: toml::Value = toml::from_str(block).expect("TOML");
    let mut rest = String::new();
    let defined =
        |group: &str, name: &str| value.get(group).and_then(|group| group.get(name)).is_some();
    let mut named = Vec::new();
    names(&value, &mut named);
    named.sort();
    named.dedup();
    for (key, name) in named {
        if key == "store" && !defined("stores", &name) {
            writeln!(rest, "[stores.{name}]\nkind = 'file'").expect("memory");
        } else if key == "session" && !defined("sessions", &name) {
            writeln!(rest, "[sessions.{name}]\nbrokers = ['{name}.example']").expect("memory");
        }
    }
    rest
}

fn names(value: &toml::Value, found: &mut Vec<(&'static str, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                match (key.as_str(), value) {
                    ("store", toml::Value::String(name)) => found.push(("store", name.clone())),
                    ("session", toml::Value::String(name)) => {
                        found.push(("session", name.clone()));
                    }
                    ("failover", toml::Value::Array(all)) => {
                        let all = all.iter().filter_map(toml::Value::as_str);
                        found.extend(all.map(|name| ("session", name.to_owned())));
                    }
                    _ => names(value, found),
                }
            }
        }
        toml::Value::Array(all) => all.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

/// The files that the guides speak of.
fn with_files() -> TempDir {
    let files = TempDir::new("guides");
    let pki = Pki::new("authority");
    let _ = pki.client("gw").write(files.path(), "gw");
    let put = |name: &str, text: &str| {
        std::fs::write(files.path().join(name), text).expect("a file");
    };
    std::fs::create_dir(files.path().join("secrets")).expect("a directory");
    for name in [
        "secrets/redis",
        "secrets/cloud",
        "secrets/http",
        "secrets/token",
        "http.token",
        "password",
    ] {
        put(name, "s3cret\n");
    }
    put("ca.pem", &pki.ca());
    files
}

#[test]
fn every_configuration_in_the_guides_is_good() {
    let files = with_files();
    let blocks = blocks();
    assert!(blocks.len() >= 18, "{} blocks", blocks.len());
    let mut wrong = String::new();
    for Block { place, text } in &blocks {
        let text = text.replace("/run/secrets/", "secrets/");
        std::fs::write(files.path().join("1.toml"), &text).expect("a file");
        std::fs::write(files.path().join("2.toml"), rest(&text)).expect("a file");
        for problem in load(files.path()).err().into_iter().flatten() {
            writeln!(wrong, "{place}: {problem}").expect("memory");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Where it says so, nothing is taken for granted.
#[test]
fn the_recipes_for_operators_are_complete() {
    for Block { place, text } in
        blocks().iter().filter(|block| block.place.contains("operators.md"))
    {
        assert_eq!(rest(text), "", "{place}");
    }
}
