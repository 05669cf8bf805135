//! A strict reader of the two text formats in which metrics are shown, written from their specifications: version 0.0.4 of
//! Prometheus, and OpenMetrics 1.0. What either forbids is an error, with the line.

use std::collections::{BTreeMap, BTreeSet};

/// All metrics of a text.
#[derive(Debug, Default)]
pub struct Exposition {
    /// In the order of the text.
    pub families: Vec<Family>,
}

/// A metric with its samples.
#[derive(Debug, Default)]
pub struct Family {
    /// The name in its `# TYPE`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// What `# HELP` says, unescaped.
    pub help: String,
    /// What `# UNIT` says.
    pub unit: Option<String>,
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// With the suffix that it has.
    pub name: String,
    /// Unescaped.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
}

impl Exposition {
    /// Reads version 0.0.4.
    ///
    /// # Errors
    /// The first line that breaks a rule.
    pub fn parse_prometheus(text: &str) -> Result<Self, String> {
        Reader { open: false, found: Self::default(), seen: BTreeSet::new() }.read(text)
    }

    /// Reads OpenMetrics 1.0.
    ///
    /// # Errors
    /// The first line that breaks a rule.
    pub fn parse_open_metrics(text: &str) -> Result<Self, String> {
        let Some(text) = text.strip_suffix("# EOF\n") else {
            return Err("the text does not end with # EOF".to_owned());
        };
        Reader { open: true, found: Self::default(), seen: BTreeSet::new() }.read(text)
    }

    /// All samples of that name.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let all = self.families.iter().flat_map(|family| &family.samples);
        all.filter(move |sample| sample.name == name)
    }

    /// The value of the only sample of that name that has these labels, among others.
    ///
    /// # Panics
    /// There are several.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        let mut fitting = self.samples(name).filter(has);
        let found = fitting.next()?;
        assert!(fitting.next().is_none(), "several samples of {name} have {labels:?}");
        Some(found.value)
    }

    /// The sum over all samples of that name that have these labels, among others.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        self.samples(name).filter(has).map(|sample| sample.value).sum()
    }

    /// The names of all samples.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let all = self.families.iter().flat_map(|family| &family.samples);
        all.map(|sample| sample.name.as_str()).collect()
    }
}

struct Reader {
    open: bool,
    found: Exposition,
    /// Name and labels of every sample.
    seen: BTreeSet<(String, Labels)>,
}

impl Reader {
    fn read(mut self, text: &str) -> Result<Exposition, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no line feed".to_owned());
        }
        for (number, line) in text.split_terminator('\n').enumerate() {
            self.line(line).map_err(|error| format!("line {}: {error}: {line}", number + 1))?;
        }
        for family in &self.found.families {
            check(family).map_err(|error| format!("{}: {error}", family.name))?;
        }
        Ok(self.found)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.contains('\r') {
            return Err("a carriage return".to_owned());
        }
        let Some(comment) = line.strip_prefix("# ") else {
            return if line.is_empty() || line.starts_with('#') {
                Err("an empty line, or a comment without a space".to_owned())
            } else {
                self.sample(line)
            };
        };
        let mut words = comment.splitn(3, ' ');
        let (word, name, rest) = (words.next(), words.next(), words.next());
        let (Some(word), Some(name), Some(rest)) = (word, name, rest) else {
            return Err("a comment that is none of HELP, TYPE, UNIT with its text".to_owned());
        };
        if !is_name(name) {
            return Err(format!("{name} is no name"));
        }
        let family = self.family(name)?;
        let twice = |is_there: bool| if is_there { Err(format!("{word} twice")) } else { Ok(()) };
        match word {
            "HELP" => {
                twice(!family.help.is_empty())?;
                family.help = unescape(rest)?;
            }
            "TYPE" => {
                twice(!family.kind.is_empty())?;
                let kinds = ["counter", "gauge", "histogram", "info"];
                if !kinds.contains(&rest) {
                    return Err(format!("the type {rest}"));
                }
                family.kind = rest.to_owned();
            }
            "UNIT" if name.ends_with(&format!("_{rest}")) => family.unit = Some(rest.to_owned()),
            _ => return Err("a comment that does not belong here".to_owned()),
        }
        Ok(())
    }

    /// The family of a comment: the last one while it has no samples, or a new one.
    fn family(&mut self, name: &str) -> Result<&mut Family, String> {
        let families = &mut self.found.families;
        let goes_on =
            families.last().is_some_and(|last| last.name == name && last.samples.is_empty());
        if !goes_on {
            if families.iter().any(|family| family.name == name) {
                return Err("its lines are not together".to_owned());
            }
            families.push(Family { name: name.to_owned(), ..Family::default() });
        }
        families.last_mut().ok_or_else(String::new)
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        if !is_name(name) {
            return Err(format!("{name} is no name"));
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let value = number(value)?;
        let mut sorted = labels.clone();
        sorted.sort();
        if !self.seen.insert((name.to_owned(), sorted)) {
            return Err("the same series twice".to_owned());
        }
        let open = self.open;
        let family = self.found.families.last_mut().ok_or("a sample before any TYPE")?;
        let suffixes: &[&str] = match (family.kind.as_str(), open) {
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", true) => &["_total"],
            ("info", true) => &["_info"],
            ("", _) => return Err("a sample before its TYPE".to_owned()),
            _ => &[""],
        };
        let suffix = name.strip_prefix(family.name.as_str()).ok_or("not of the family above")?;
        if !suffixes.contains(&suffix) {
            return Err(format!("'{suffix}' is no suffix of a {}", family.kind));
        }
        let labels = labels.into_iter().collect();
        family.samples.push(Sample { name: name.to_owned(), labels, value });
        Ok(())
    }
}

/// What concerns all samples of a family.
fn check(family: &Family) -> Result<(), String> {
    if family.help.is_empty() || family.kind.is_empty() {
        return Err("HELP or TYPE is missing".to_owned());
    }
    if family.samples.is_empty() {
        return Err("no samples".to_owned());
    }
    if family.kind == "counter" && family.samples.iter().any(|s| s.value < 0.0) {
        return Err("a negative counter".to_owned());
    }
    if family.kind == "info" && family.samples.iter().any(|s| s.value != 1.0) {
        return Err("an info that is not 1".to_owned());
    }
    if family.kind == "histogram" { check_histograms(family) } else { Ok(()) }
}

fn check_histograms(family: &Family) -> Result<(), String> {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|s| s.name.ends_with("_bucket")) {
        let bound = sample.labels.get("le").ok_or("a bucket without le")?;
        buckets.entry(without_le(sample)).or_default().push((number(bound)?, sample.value));
    }
    for (labels, buckets) in &buckets {
        if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
            return Err("buckets that do not rise".to_owned());
        }
        let last = buckets.last().filter(|last| last.0 == f64::INFINITY);
        let last = last.ok_or("no bucket +Inf")?;
        let of = |suffix: &str| {
            let mut all = family.samples.iter().filter(|s| s.name.ends_with(suffix));
            all.find(|sample| without_le(sample) == *labels)
        };
        let count = of("_count").ok_or("no count")?.value;
        of("_sum").ok_or("no sum")?;
        if count != last.1 {
            return Err(format!("count {count}, and {} in +Inf", last.1));
        }
    }
    Ok(())
}

/// Names and values.
type Labels = Vec<(String, String)>;

/// What the series of one histogram have in common.
fn without_le(sample: &Sample) -> Labels {
    let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
    labels.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !text.is_empty() && text.chars().all(legal) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Labels behind the opening brace, and what follows the closing one.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || name.contains(':') || labels.iter().any(|(n, _)| n == name) {
            return Err(format!("the label {name}"));
        }
        let mut escaped = false;
        let end = quoted.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (value, behind) = quoted.split_at(end.ok_or("a value that does not end")?);
        labels.push((name.to_owned(), unescape(value)?));
        let behind = behind.get(1..).unwrap_or_default();
        match behind.split_at_checked(1) {
            Some((",", more)) => rest = more,
            Some(("}", more)) => return Ok((labels, more)),
            _ => return Err("neither , nor } behind a label".to_owned()),
        }
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            other => return Err(format!("the escape \\{other:?}")),
        }
    }
    Ok(out)
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => {
            text.parse().map_err(|_| format!("{text} is no number"))
        }
        text => Err(format!("{text} is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total What.\n# TYPE a_total counter\n";

    #[test]
    fn a_text_is_read_with_its_labels() {
        let text = format!("{HEAD}a_total{{x=\"q\\\"b\\\\n\\n\",y=\"\"}} 3\na_total 1.5\n");
        let found = Exposition::parse_prometheus(&text).unwrap();
        assert_eq!(found.value("a_total", &[("x", "q\"b\\n\n")]), Some(3.0));
        assert_eq!(found.sum("a_total", &[]), 4.5);
        assert_eq!(found.families[0].help, "What.");
        let open = "# HELP a What.\n# TYPE a counter\na_total 1\n# EOF\n";
        assert_eq!(Exposition::parse_open_metrics(open).unwrap().sum("a_total", &[]), 1.0);
    }

    #[test]
    fn what_is_forbidden_is_found() {
        for (text, why) in [
            ("a 1\n", "before any TYPE"),
            ("# TYPE a gauge\na 1\n", "HELP or TYPE is missing"),
            ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "twice"),
            ("# HELP a A.\n# TYPE a gauge\na{b=\"x} 1\n", "does not end"),
            ("# HELP a A.\n# TYPE a gauge\na{b=\"\\x\"} 1\n", "escape"),
            ("# HELP a A.\n# TYPE a gauge\na{b=\"x\"}1\n", "no space"),
            ("# HELP a A.\n# TYPE a gauge\na one\n", "no number"),
            ("# HELP a A.\n# TYPE a gauge\na 1", "no line feed"),
            ("# HELP a A.\n# TYPE a gauge\n\na 1\n", "empty line"),
            ("# HELP a A.\n# TYPE a gauge\nb 1\n", "not of the family"),
            ("# HELP a A.\n# TYPE a counter\na -1\n", "negative"),
            ("# HELP 1a A.\n", "no name"),
            (
                "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n",
                "not together",
            ),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
                "do not rise",
            ),
            (
                "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n",
                "count 2",
            ),
        ] {
            let error = Exposition::parse_prometheus(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Exposition::parse_open_metrics("# HELP a A.\n").is_err());
        let suffix = "# HELP a A.\n# TYPE a counter\na 1\n# EOF\n";
        assert!(Exposition::parse_open_metrics(suffix).unwrap_err().contains("no suffix"));
    }
}
