//! The names upstream gives to parameters.

/// A family's table of names: our path on the left, upstream's (timm's) on the right.
///
/// A rule matches whole segments from the start of a path; what follows stays as it is. A segment
/// may end in `*`, which stands for any rest of that segment and is carried over in order:
/// `stage*.*.downsample.conv` ↔ `layer*.*.downsample.0`. The first rule that matches is used. On the
/// right a star may be followed by what becomes of a number: `stages.*-1` begins to count at 0 where
/// the left begins at 1, and `features.*x2+1` takes every second one. Such a rule matches numbers only.
///
/// What stands on the right need not be a whole tensor. `attention.{query,key,value}` is three of
/// them, one below the other, and `in_proj[1/3]` the second of three equal parts of one; both along
/// the first dimension. Only files are read by such names.
///
/// The tensors have upstream's shapes; where the number of dimensions is another one than ours,
/// [`rank`](Self::rank) says so.
///
/// One direction is enough for both import and export: a file is read by asking for the upstream
/// name of each parameter, and whatever name is left over does not belong.
#[derive(Debug, Clone)]
pub struct KeyTable {
    rules: Vec<(Vec<String>, Vec<String>)>,
    ranks: Vec<(Vec<String>, usize)>,
}

impl KeyTable {
    /// A table from pairs of our pattern and upstream's, first match first.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Self {
        Self {
            rules: rules
                .into_iter()
                .map(|(ours, theirs)| (segments(ours), segments(theirs)))
                .collect(),
            ranks: Vec::new(),
        }
    }

    /// Adds a rule, to be asked last.
    pub fn push(&mut self, ours: &str, theirs: &str) {
        self.rules.extend(Self::new(&[(ours, theirs)]).rules);
    }

    /// Says that the parameter at this path has so many dimensions upstream: more or fewer of length
    /// one behind the others, as a convolution of 1x1 has that is an affine layer here.
    pub fn rank(&mut self, ours: &str, rank: usize) {
        self.ranks.push((segments(ours), rank));
    }

    /// Upstream's shape of the parameter at this path, by ours.
    pub(crate) fn shape(&self, path: &str, ours: &[usize]) -> Vec<usize> {
        let path: Vec<&str> = path.split('.').collect();
        let mut ranks = self.ranks.iter();
        let found = ranks.find(|(pattern, _)| captures(pattern, &path).is_some());
        let mut shape = ours.to_vec();
        if let Some((_, rank)) = found {
            shape.resize(*rank, 1);
        }
        shape
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
                .map(|segment| match segment.split_once('*') {
                    Some((stem, change)) => {
                        let captured = captures.next().unwrap_or_default();
                        Some(format!("{stem}{}", changed(captured, change)?))
                    }
                    None => Some(segment.clone()),
                })
                .collect::<Option<_>>()?;
            name.extend(segments[ours.len()..].iter().map(|s| (*s).to_owned()));
            Some(name.join("."))
        })
    }
}

fn segments(pattern: &str) -> Vec<String> {
    pattern.split('.').map(str::to_owned).collect()
}

/// What a star stands for, after `x2`, `+1` or `-1` behind it: times a number, and plus or minus one.
fn changed(captured: &str, change: &str) -> Option<String> {
    if change.is_empty() {
        return Some(captured.to_owned());
    }
    let number: i64 = captured.parse().ok()?;
    let (factor, offset) = match change.strip_prefix('x') {
        Some(rest) => {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            (rest[..end].parse().ok()?, &rest[end..])
        }
        None => (1i64, change),
    };
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse().ok()?
    };
    let number = number.checked_mul(factor)?.checked_add(offset)?;
    (number >= 0).then(|| number.to_string())
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

/// A [`KeyTable`] as data: `"ours" => "theirs"`, first match first.
macro_rules! key_table {
    ($( $ours:literal => $theirs:literal ),* $(,)?) => {
        $crate::model::KeyTable::new(&[$( ($ours, $theirs) ),*])
    };
}
pub(crate) use key_table;

/// Names that files have for the tensors of a backbone, beside upstream's.
#[derive(Debug, Clone)]
pub struct OtherNames {
    /// Whose they are, in words.
    pub whose: &'static str,
    /// From upstream's names to these.
    pub table: KeyTable,
    /// Upstream's names begin so where the shape may be another one that holds the same values in the
    /// same order: without dimensions of one, or with all behind the first as one. A convolution may
    /// be an affine layer there.
    pub reshapes: &'static [&'static str],
    /// Ends of names that such files have beside, which hold no weights: tables that follow from the
    /// structure.
    pub ignored: &'static [&'static str],
}

impl OtherNames {
    /// Names by a table from upstream's, for tensors of the same shapes.
    pub fn new(whose: &'static str, table: KeyTable) -> Self {
        Self {
            whose,
            table,
            reshapes: &[],
            ignored: &[],
        }
    }

    /// Sets where shapes may be others.
    pub fn reshapes(mut self, starts: &'static [&'static str]) -> Self {
        self.reshapes = starts;
        self
    }

    /// Sets what is left out.
    pub fn ignores(mut self, ends: &'static [&'static str]) -> Self {
        self.ignored = ends;
        self
    }
}

/// Where the values of a parameter are in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In one tensor.
    Whole(String),
    /// In several of the same shape, one below the other.
    Joined(Vec<String>),
    /// In one of `of` equal parts of a tensor.
    Part {
        name: String,
        index: usize,
        of: usize,
    },
}

impl Source {
    /// What a name of a [`KeyTable`] says, with this before each tensor's name.
    pub fn of(prefix: &str, name: &str) -> Self {
        if let Some((before, rest)) = name.split_once('{')
            && let Some((names, after)) = rest.split_once('}')
        {
            let joined = names
                .split(',')
                .map(|one| format!("{prefix}{before}{one}{after}"));
            return Self::Joined(joined.collect());
        }
        if let Some((before, rest)) = name.split_once('[')
            && let Some((part, after)) = rest.split_once(']')
            && let Some((index, of)) = part.split_once('/')
            && let (Ok(index), Ok(of)) = (index.parse(), of.parse())
        {
            let name = format!("{prefix}{before}{after}");
            return Self::Part { name, index, of };
        }
        Self::Whole(format!("{prefix}{name}"))
    }

    /// The names of the tensors.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Whole(name) | Self::Part { name, .. } => vec![name],
            Self::Joined(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// The shape of the values, by the shapes of the tensors; `None` if they do not go together.
    pub fn shape(&self, tensors: &[&[usize]]) -> Option<Vec<usize>> {
        let mut shape = tensors.first()?.to_vec();
        match self {
            Self::Whole(_) => {}
            Self::Joined(_) => {
                if tensors.iter().any(|other| **other != shape[..]) {
                    return None;
                }
                let first = shape.first_mut()?;
                *first = first.checked_mul(tensors.len())?;
            }
            Self::Part { of, .. } => {
                let first = shape.first_mut()?;
                if *of == 0 || !first.is_multiple_of(*of) {
                    return None;
                }
                *first /= of;
            }
        }
        Some(shape)
    }

    /// The values, by those of the tensors.
    pub fn values(&self, tensors: Vec<Vec<f32>>) -> Vec<f32> {
        let mut tensors = tensors;
        let values = match &mut tensors[..] {
            [one] => std::mem::take(one),
            _ => tensors.concat(),
        };
        match self {
            Self::Part { index, of, .. } => {
                let length = values.len() / of;
                values[index * length..][..length].to_vec()
            }
            _ => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_whole_segments_is_used() {
        let table = KeyTable::new(&[
            ("stem.conv", "conv1"),
            ("stage*.*.downsample.conv", "layer*.*.downsample.0"),
            ("stage*.pool", "features.*x2.pool"),
            ("stage*.norm", "features.*x2+1.norm"),
            ("block*", "blocks.*-1"),
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
        assert_eq!(upstream("stage3.pool").unwrap(), "features.6.pool");
        assert_eq!(
            upstream("stage3.norm.weight").unwrap(),
            "features.7.norm.weight"
        );
        assert_eq!(upstream("block1.0.weight").unwrap(), "blocks.0.0.weight");
        // No number, or none that is left: the next rule is asked.
        assert_eq!(upstream("stagex.pool").unwrap(), "layerx.pool");
        assert_eq!(upstream("block0.weight"), None);
        assert_eq!(
            upstream("stage9223372036854775807.norm").unwrap(),
            "layer9223372036854775807.norm"
        );
    }

    #[test]
    fn shapes_are_upstreams() {
        let mut table = KeyTable::new(&[("stage*", "layer*")]);
        table.rank("head.fc.weight", 4);
        table.rank("stage*.*.skip", 0);
        assert_eq!(table.shape("head.fc.weight", &[10, 64]), [10, 64, 1, 1]);
        assert_eq!(table.shape("head.fc.bias", &[10]), [10]);
        assert!(table.shape("stage2.0.skip", &[1]).is_empty());
        assert_eq!(table.shape("stage2.skip", &[1]), [1]);
    }

    #[test]
    fn tensors_are_joined_and_split() {
        let table = KeyTable::new(&[
            ("blocks.*.attn.qkv", "layer.*.attention.{query,key,value}"),
            ("blocks.*.attn.k", "layers.*.in_proj[1/3]"),
        ]);
        let source = |path: &str| Source::of("model.", &table.name(path));
        let joined = source("blocks.2.attn.qkv.bias");
        let names = ["query", "key", "value"].map(|n| format!("model.layer.2.attention.{n}.bias"));
        assert_eq!(joined, Source::Joined(names.to_vec()));
        assert_eq!(joined.shape(&[&[2, 4], &[2, 4], &[2, 4]]), Some(vec![6, 4]));
        assert_eq!(joined.shape(&[&[2, 4], &[3, 4], &[1, 4]]), None);
        assert_eq!(joined.shape(&[&[2, 4], &[2, 5], &[2, 4]]), None);
        assert_eq!(joined.shape(&[&[], &[]]), None);
        assert_eq!(
            joined.values(vec![vec![1.0], vec![2.0], vec![3.0]]),
            [1.0, 2.0, 3.0]
        );
        let part = source("blocks.0.attn.k.weight");
        assert_eq!(part.names(), ["model.layers.0.in_proj.weight"]);
        assert_eq!(part.shape(&[&[6, 4]]), Some(vec![2, 4]));
        assert_eq!(part.shape(&[&[7, 4]]), None);
        assert_eq!(
            part.values(vec![vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]),
            [2.0, 3.0]
        );
        let whole = source("norm.weight");
        assert_eq!(whole.names(), ["model.norm.weight"]);
        assert_eq!(whole.shape(&[&[7]]), Some(vec![7]));
    }
}
