//! Where sessions keep what they have to keep.

use super::*;

const STORES: &str = r#"
[stores.disk]
kind = "file"
path = "./a/b"
fsync = "interval:50ms"
max_bytes = "4GiB"
on_full = "reject"

[stores.other]
kind = "file"

[stores.scratch]
kind = "memory"

[defaults.session]
brokers = ["h"]
store = "disk"

[sessions.a]
[sessions.b]
store = "scratch"
[fleets.f]
count = 2
"#;

#[test]
fn sessions_name_their_store_or_take_that_of_the_defaults() {
    let files = Files::new(&[("c.toml", STORES)]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.stores.keys().collect::<Vec<_>>(), ["disk", "scratch"], "those in use");
    let disk = config.stores["disk"].file.as_ref().unwrap();
    assert_eq!(disk.directory(), files.0.join("state/a/b"));
    let text = format!("{disk:?}");
    assert!(text.contains("50ms") && text.contains("4294967296"), "{text}");
    assert!(text.contains("Reject"), "{text}");
    for session in &config.sessions {
        let expected = if session.name == "b" { "scratch" } else { "disk" };
        let store = session.store.as_ref().unwrap();
        assert!(std::sync::Arc::ptr_eq(store, &config.stores[expected].store), "{}", session.name);
    }
    assert!(!files.0.join("state").exists(), "nothing is created");
}

#[test]
fn data_dir_is_relative_to_the_file() {
    let text = "[daemon]\ndata_dir = 'd'\n[stores.x]\nkind = 'file'\n\
                [sessions.a]\nbrokers = ['h']\nstore = 'x'\n";
    let files = Files::new(&[("c.toml", text)]);
    let config = files.load("c.toml").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let store = config.stores["x"].file.as_ref().unwrap();
    assert_eq!(store.directory(), files.0.join("d/x"), "its name is its path");
}

#[test]
fn mistakes_in_stores_are_named_with_their_place() {
    let found = problems(
        r#"[stores.a]
kind = "file"
path = "x"
fsync = "always"
[stores.b]
kind = "file"
path = "./x"
url = "redis://h"
[stores.c]
path = "y"
[stores.d]
kind = "flie"
[stores.e]
kind = "file"
path = "../x"
max_byte = 5
[stores.g]
kind = "file"
path = "g"
max_bytes = "5KiB"
[stores.h]
kind = "redis"
[stores.i]
kind = "file"
on_error = "pause"
[sessions.s]
brokers = ["h"]
store = "bb"
stor = "b"
[sessions.t]
brokers = ["h"]
store = 5
"#,
    );
    let expected = [
        "4:9: 'always' is not a policy: allowed are group, interval",
        "7:8: stores.b.path: the store 'a' has the same path",
        "8:1: 'url' means nothing for a file store",
        "9:9: a store needs its kind: memory, file or redis",
        "12:8: unknown value 'flie', did you mean 'file'?",
        "15:8: stores.e.path: it is a relative path below daemon.data_dir",
        "16:1: unknown key 'max_byte', did you mean 'max_bytes'?",
        "20:13: stores.g.max_bytes: 5120 is too little: at least 1 MiB",
        "21:9: stores.h.url: a redis store needs its address",
        "25:12: stores.i.on_error: a file store fails with its disk",
        "28:9: unknown store 'bb', did you mean",
        "29:1: unknown key 'stor', did you mean 'store'?",
        "32:9: store is the name of one of [stores]",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn redis_stores_take_their_keys() {
    let config = read(
        "[stores.r]\nkind = 'redis'\nurl = 'redis://h:1/2'\nusername = 'u'\npassword = 'hunter2'\n\
         database = 3\nprefix = 'p:'\nttl = '30d'\non_error = 'fail'\non_full = 'reject'\n\
         wait = { replicas = 2, timeout = '2s' }\n[sessions.a]\nbrokers = ['h']\nstore = 'r'\n",
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let text = format!("{:?}", config.stores["r"].store);
    assert!(!text.contains("hunter2"), "{text}");
    let found = problems(
        "[stores.a]\nkind = 'redis'\nurl = 'http://user:hunter2@h'\n\
         [stores.b]\nkind = 'redis'\nurl = 'redis://h'\npath = 'x'\nprefix = 'a{b}'\n\
         [stores.c]\nkind = 'redis'\nurl = 'redis://h'\nttl = '10ms'\n\
         [stores.d]\nkind = 'redis'\nurl = 'redis://h'\nwait = { replicas = 0 }\n\
         [stores.e]\nkind = 'redis'\nurl = 'redis://h'\non_error = 'wait'\n",
    );
    let expected = [
        "3:7: stores.a.url: ",
        "7:1: 'path' means nothing for a redis store",
        "8:10: stores.b.prefix: braces",
        "12:7: stores.c.ttl: at least 1s",
        "16:8: stores.d.wait: replicas",
        "20:12: unknown value 'wait'",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
