//! What a table asks for, in a form that can be compared with that of a later file.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use toml::de::{DeTable, DeValue};

use super::layout::Part;

/// Of a table after its strings were expanded. Order, comments and spelling do not count.
pub(crate) type Fingerprint = u64;

/// Of all tables of a group, by name.
pub(super) fn of_all(parts: &[Part<'_>]) -> BTreeMap<String, Fingerprint> {
    parts.iter().map(|part| (part.name.clone(), of(&part.table))).collect()
}

fn of(table: &DeTable<'_>) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    write_table(table, &mut hasher);
    hasher.finish()
}

fn write_table(table: &DeTable<'_>, out: &mut DefaultHasher) {
    let sorted: BTreeMap<&str, &DeValue<'_>> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())).collect();
    out.write_usize(sorted.len());
    for (key, value) in sorted {
        write_text(key, out);
        write(value, out);
    }
}

fn write(value: &DeValue<'_>, out: &mut DefaultHasher) {
    match value {
        DeValue::String(text) => write_text(text, out),
        DeValue::Array(array) => {
            out.write_usize(array.len());
            array.iter().for_each(|element| write(element.get_ref(), out));
        }
        DeValue::Table(table) => write_table(table, out),
        other => write_text(&format!("{other:?}"), out),
    }
}

fn write_text(text: &str, out: &mut DefaultHasher) {
    out.write(text.as_bytes());
    // No text has it.
    out.write_u8(0xff);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &str) -> Fingerprint {
        of(&DeTable::parse(text).expect("TOML").into_inner())
    }

    #[test]
    fn order_and_spelling_do_not_count_and_values_do() {
        let one = fingerprint("a = 1\nb = ['x', { c = true, d = 1.5 }]\n[e]\nf = 'g'\n");
        let same = "e = { f = \"g\" } # the same\nb = [ \"x\", { d = 1.5, c = true } ]\na = 1";
        assert_eq!(one, fingerprint(same));
        for other in ["a = 2", "a = '1'", "b = ['x', 'y']", "b = ['xy']", "b = ['y', 'x']", ""] {
            assert_ne!(fingerprint("a = 1"), fingerprint(other), "{other}");
        }
        assert_ne!(fingerprint("b = ['x', 'y']"), fingerprint("b = ['xy']"));
        assert_ne!(fingerprint("b = ['x', 'y']"), fingerprint("b = ['y', 'x']"));
    }
}
