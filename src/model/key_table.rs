//! The names upstream gives to parameters.

/// A family's table of names: our path on the left, upstream's (timm's) on the right.
///
/// A rule matches whole segments from the start of a path; what follows stays as it is. A segment
/// may end in `*`, which stands for any rest of that segment and is carried over in order:
/// `stage*.*.downsample.conv` ↔ `layer*.*.downsample.0`. The first rule that matches is used.
///
/// One direction is enough for both import and export: a file is read by asking for the upstream
/// name of each parameter, and whatever name is left over does not belong.
#[derive(Debug, Clone)]
pub struct KeyTable {
    rules: Vec<(Vec<String>, Vec<String>)>,
}

impl KeyTable {
    /// A table from pairs of our pattern and upstream's, first match first.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Self {
        let segments = |pattern: &str| pattern.split('.').map(str::to_owned).collect();
        Self {
            rules: rules
                .into_iter()
                .map(|(ours, theirs)| (segments(ours), segments(theirs)))
                .collect(),
        }
    }

    /// Upstream's name for the parameter at this path; the path itself where no rule speaks of it,
    /// so that a gap in a table shows as a missing tensor and not as a wrong one.
    pub(crate) fn name(&self, path: &str) -> String {
        self.upstream(path).unwrap_or_else(|| path.to_owned())
    }

    /// Upstream's name for the parameter at this path; `None` if no rule speaks of it.
    pub fn upstream(&self, path: &str) -> Option<String> {
        let segments: Vec<&str> = path.split('.').collect();
        self.rules.iter().find_map(|(ours, theirs)| {
            let captures = captures(ours, &segments)?;
            let mut captures = captures.into_iter();
            let mut name: Vec<String> = theirs
                .iter()
                .map(|segment| match segment.strip_suffix('*') {
                    Some(stem) => format!("{stem}{}", captures.next().unwrap_or_default()),
                    None => segment.clone(),
                })
                .collect();
            name.extend(segments[ours.len()..].iter().map(|s| (*s).to_owned()));
            Some(name.join("."))
        })
    }
}

/// What the stars of `pattern` stand for, if it matches the start of `segments`.
fn captures<'a>(pattern: &[String], segments: &[&'a str]) -> Option<Vec<&'a str>> {
    if segments.len() < pattern.len() {
        return None;
    }
    let mut captured = Vec::new();
    for (pattern, segment) in pattern.iter().zip(segments) {
        match pattern.strip_suffix('*') {
            Some(stem) => captured.push(segment.strip_prefix(stem)?),
            None if pattern == segment => {}
            None => return None,
        }
    }
    Some(captured)
}

/// Names that files have for the tensors of a backbone, beside upstream's.
#[derive(Debug, Clone)]
pub struct OtherNames {
    /// Whose they are, in words.
    pub whose: &'static str,
    /// From upstream's names to these.
    pub table: KeyTable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_whole_segments_is_used() {
        let table = KeyTable::new(&[
            ("stem.conv", "conv1"),
            ("stage*.*.downsample.conv", "layer*.*.downsample.0"),
            ("stage*", "layer*"),
        ]);
        let upstream = |path| table.upstream(path);
        assert_eq!(upstream("stem.conv.weight").unwrap(), "conv1.weight");
        assert_eq!(upstream("stem.conv1.weight"), None);
        assert_eq!(
            upstream("stage4.11.downsample.conv.weight").unwrap(),
            "layer4.11.downsample.0.weight"
        );
        assert_eq!(
            upstream("stage4.11.bn1.bias").unwrap(),
            "layer4.11.bn1.bias"
        );
        assert_eq!(upstream("stage"), Some("layer".to_owned()));
    }
}
