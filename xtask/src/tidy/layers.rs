//! What may be mentioned where: the boundaries between crates and modules.

use super::Problem;
use super::lexer::{find_word, line_of};
use super::tree::{SourceFile, Tree};

/// One boundary: inside `within`, except below `except`, none of `forbidden` may be mentioned.
struct Layer {
    within: &'static str,
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    why: &'static str,
}

const LAYERS: [Layer; 9] = [
    Layer {
        within: "crates/mqttx-proto/src/",
        except: &[],
        forbidden: &[
            "tokio",
            "std::net",
            "std::fs",
            "std::time::Instant::now",
            "Instant::now",
            "SystemTime",
            "std::thread",
            "thread::spawn",
            "rand",
            "getrandom",
        ],
        why: "the core reads no clock, does no I/O, spawns nothing and draws no randomness",
    },
    Layer {
        within: "crates/mqttx-proto/src/",
        except: &[
            "crates/mqttx-proto/src/packet/",
            "crates/mqttx-proto/src/packet.rs",
            "crates/mqttx-proto/src/reason.rs",
            "crates/mqttx-proto/src/types.rs",
            "crates/mqttx-proto/src/session/handshake.rs",
        ],
        forbidden: &["Version::V5", "Version::V311"],
        why: "only packets, reason codes and the handshake look at the version; the rest asks Limits",
    },
    Layer {
        within: "crates/mqttx/src/auth/",
        except: &[],
        forbidden: &["crate::session", "crate::transport"],
        why: "authentication knows no session and no connection",
    },
    Layer {
        within: "crates/mqttx/src/router/",
        except: &[],
        forbidden: &["crate::session"],
        why: "the router does not know the session",
    },
    Layer {
        within: "crates/mqttx/src/store/",
        except: &[],
        forbidden: &["crate::session"],
        why: "a store does not know the session",
    },
    Layer {
        within: "crates/mqttx/src/metrics/",
        except: &[],
        forbidden: &["crate::session"],
        why: "metrics do not know the session",
    },
    Layer {
        within: "crates/mqttx/src/transport/",
        except: &[],
        forbidden: &["crate::session"],
        why: "a transport does not know the session",
    },
    Layer {
        within: "crates/mqttx/src/",
        except: &["crates/mqttx/src/transport/"],
        forbidden: &["tokio::net"],
        why: "only transport/ opens sockets",
    },
    Layer {
        within: "crates/mqttx-test/",
        except: &[],
        forbidden: &["mqttx_proto", "mqttx"],
        why: "a test peer shares no code with what it tests",
    },
];

/// The command reaches the core through the library.
const COMMAND: Layer = Layer {
    within: "crates/mqttx-cli/src/",
    except: &[],
    forbidden: &["mqttx_proto"],
    why: "the command knows only the library",
};

/// Every mention that crosses a boundary.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.production() {
        for layer in LAYERS.iter().chain([&COMMAND]).filter(|layer| layer.holds_for(&file.path)) {
            problems.extend(layer.crossings(file));
        }
        if LAYERS[1].holds_for(&file.path) {
            problems.extend(version_matches(file));
        }
    }
    problems
}

impl Layer {
    fn holds_for(&self, path: &str) -> bool {
        // `router/` also means a single file `router.rs`.
        let file = format!("{}.rs", self.within.trim_end_matches('/'));
        (path.starts_with(self.within) || path == file)
            && !self.except.iter().any(|except| path.starts_with(except))
    }

    fn crossings(&self, file: &SourceFile) -> Vec<Problem> {
        let imports = imports(&file.production, &module_of(&file.path));
        let mut problems = Vec::new();
        for &word in self.forbidden {
            let imported = imports.iter().filter(|import| starts_with_path(&import.path, word));
            let mut lines: Vec<usize> = imported.map(|import| import.line).collect();
            let mentions = find_word(&file.production, word);
            lines.extend(mentions.map(|at| line_of(&file.production, at)));
            lines.sort_unstable();
            lines.dedup();
            problems.extend(lines.into_iter().map(|line| {
                Problem::new(&file.path, line, format!("mentions `{word}`: {}", self.why))
            }));
        }
        problems
    }
}

/// `match version`, with the version as a local or a field, whatever the arms are called.
fn version_matches(file: &SourceFile) -> Vec<Problem> {
    let code = &file.production;
    let matches = find_word(code, "match").filter(|&at| {
        let subject = code[at + "match".len()..].split('{').next().unwrap_or_default();
        let subject = subject.trim().trim_start_matches(['&', '*']);
        subject.trim_end_matches("()").rsplit('.').next() == Some("version")
    });
    let problem = |at| {
        let text = format!("matches on the version: {}", LAYERS[1].why);
        Problem::new(&file.path, line_of(code, at), text)
    };
    matches.map(problem).collect()
}

/// A path that a `use` names, written out in full, and the line of the `use`.
struct Import {
    path: String,
    line: usize,
}

/// Every path that the code imports: `use a::{b, c::d};` names `a::b` and `a::c::d`.
fn imports(code: &str, module: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    for at in find_word(code, "use") {
        let Some(tree) = code[at + "use".len()..].split(';').next() else { continue };
        let mut paths = Vec::new();
        expand("", tree, &mut paths);
        let line = line_of(code, at);
        let path = |path: String| Import { path: absolute(&path, module), line };
        imports.extend(paths.into_iter().map(path));
    }
    imports
}

/// Adds the paths of a use tree below `prefix`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head = format!("{prefix}{}", head.trim());
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        for part in split_group(group) {
            expand(&head, part, paths);
        }
    } else if !tree.is_empty() {
        let name = tree.split_whitespace().next().unwrap_or_default();
        paths.push(format!("{prefix}{name}").trim_end_matches("::self").to_owned());
    }
}

/// The parts of `a, b::{c, d}, e` between the outer commas.
fn split_group(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let outer = |character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    };
    group.split(outer).collect()
}

/// The path from the crate's root when it starts with `self` or `super`.
fn absolute(path: &str, module: &[String]) -> String {
    let mut base = module.to_vec();
    let mut rest = path;
    let mut relative = false;
    loop {
        if let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        } else if let Some(after) = rest.strip_prefix("self::") {
            rest = after;
        } else if relative {
            return format!(
                "crate::{}{rest}",
                base.iter().map(|m| format!("{m}::")).collect::<String>()
            );
        } else {
            return path.to_owned();
        }
        relative = true;
    }
}

/// The module that a file is: `src/router/trie.rs` is `router::trie`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<String> =
        inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

fn starts_with_path(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn clock_in_the_core_is_found_and_in_its_tests_is_not() {
        let text = "fn a() {\n    let now = Instant::now();\n}\n#[cfg(test)]\nmod tests {\n    \
                    fn b() { Instant::now(); }\n}\n";
        let found = problems("crates/mqttx-proto/src/session/link.rs", text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/mqttx-proto/src/session/link.rs:2:"), "{found:?}");
    }

    #[test]
    fn comments_about_the_clock_are_fine() {
        assert!(
            problems("crates/mqttx-proto/src/lib.rs", "//! No tokio, no SystemTime.\n").is_empty()
        );
    }

    #[test]
    fn import_hidden_in_a_group_is_found() {
        let text = "use crate::{metrics::Counter, session::{self, Session}};\n";
        let found = problems("crates/mqttx/src/router/route.rs", text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("route.rs:1:"), "{found:?}");
    }

    #[test]
    fn relative_import_is_followed() {
        let text = "use super::super::session::Handle;\n";
        assert_eq!(problems("crates/mqttx/src/store/memory.rs", text).len(), 1);
        let own = "use super::session::Thing;\n";
        assert!(problems("crates/mqttx/src/store/memory.rs", own).is_empty());
    }

    #[test]
    fn router_as_a_single_file_is_held_too() {
        assert_eq!(
            problems("crates/mqttx/src/router.rs", "use crate::session::Handle;\n").len(),
            1
        );
    }

    #[test]
    fn version_is_looked_at_only_where_it_may_be() {
        let text = "fn f(v: Version) -> bool { v == Version::V5 }\n";
        assert_eq!(problems("crates/mqttx-proto/src/session/outgoing.rs", text).len(), 1);
        assert!(problems("crates/mqttx-proto/src/session/handshake.rs", text).is_empty());
        assert!(problems("crates/mqttx-proto/src/packet/connack.rs", text).is_empty());
        let matched = "fn f(&self) { match self.link.version { _ => {} } }\n";
        assert_eq!(problems("crates/mqttx-proto/src/session/outgoing.rs", matched).len(), 1);
        let other = "fn f(&self) { match self.conversion { _ => {} } }\n";
        assert!(problems("crates/mqttx-proto/src/session/outgoing.rs", other).is_empty());
    }

    #[test]
    fn command_does_not_reach_past_the_library() {
        assert_eq!(problems("crates/mqttx-cli/src/main.rs", "use mqttx_proto::QoS;\n").len(), 1);
        assert!(problems("crates/mqttx-cli/src/main.rs", "use mqttx::QoS;\n").is_empty());
    }

    #[test]
    fn sockets_are_opened_in_the_transport_only() {
        let text = "use tokio::net::TcpStream;\n";
        assert_eq!(problems("crates/mqttx/src/session/driver.rs", text).len(), 1);
        assert!(problems("crates/mqttx/src/transport/tcp.rs", text).is_empty());
    }
}
