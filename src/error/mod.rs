//! One documented variant for each thing that can go wrong, with the context a person needs to
//! put it right: the file, the parameter or the flag, what was expected and what was found.

use std::fmt;
use std::path::{Path, PathBuf};

mod load_report;

pub(crate) use load_report::printable;
pub use load_report::{LoadReport, Mismatch};

/// `Result` with [`enum@Error`] as its error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong with a file of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubErrorKind {
    /// A name, an address or a setting cannot be used.
    Request,
    /// No server answers, not in time, or not as a hub does. Trying again may help.
    Network,
    /// The server wants a token, another one, or consent to its terms.
    Access,
    /// There is no such repository, revision or file.
    NotFound,
    /// The file is not in the cache, and the network may not be used.
    NotCached,
    /// A file is another than the manifest or the hub says, or nothing says what it should be.
    Checksum,
    /// The cache cannot be read or written, its disk is full, or another process holds it.
    Cache,
    /// The hub does not take what is pushed to it.
    Refused,
}

/// Everything that can go wrong in this crate. `Debug` is the message, too, as a `main` that returns an error shows
/// that.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No architecture of the zoo has this name.
    #[error("unknown model `{name}`{}", did_you_mean(.suggestions))]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The closest names that exist, best first.
        suggestions: Vec<String>,
    },

    /// An argument has a value outside what it may have.
    #[error("{argument}: expected {expected}, found {found}")]
    InvalidArgument {
        /// The parameter or flag, as the caller writes it.
        argument: String,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
    },

    /// A tensor that was handed to a model does not fit it.
    #[error("{model}: input expected as {expected}, found {found}")]
    InputShape {
        /// The architecture.
        model: String,
        /// The accepted shape.
        expected: String,
        /// The shape that was given.
        found: String,
    },

    /// A group of parameters was named that the model does not have.
    #[error("{model} has no group `{group}`; its groups are {}", .known.join(", "))]
    UnknownGroup {
        /// The architecture.
        model: String,
        /// The name that was asked for.
        group: String,
        /// The names that exist, from the input to the output.
        known: Vec<String>,
    },

    /// A pattern is no regular expression, or no parameter matches it.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why it cannot be used.
        reason: String,
    },

    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own error. The message has it already, so it is no cause of its own
        /// (`r#` keeps it from being one): a chain of causes would say it twice.
        r#source: std::io::Error,
    },

    /// A file of the hub, or the cache of such files, cannot be used.
    #[error("{error}")]
    Hub {
        /// What kind of thing went wrong, for a program to match.
        kind: HubErrorKind,
        /// The error itself, in words. It is no cause of its own.
        error: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Weights were named that only a build with the feature `hub` can fetch.
    #[error(
        "{name}: this build cannot fetch weights; build it with the feature `hub`, or use a file"
    )]
    NoHub {
        /// The weights.
        name: String,
    },

    /// The build has no weights of its own.
    #[error(
        "{name}: this build comes without weights of its own; build it with the feature \
         `bundled-weights`, or use other weights"
    )]
    NotBundled {
        /// The weights.
        name: String,
    },

    /// A file is no weights file, or a damaged one.
    #[error("{}: not a usable weights file: {reason}", .path.display())]
    WeightsFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        reason: String,
    },

    /// A weights file holds NaN or an infinite value.
    #[error("{}: tensor `{tensor}` holds {value} at element {index}; values must be finite", .path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor in the file.
        tensor: String,
        /// The first offending element, counted in row-major order.
        index: usize,
        /// Its value.
        value: f32,
    },

    /// The names, shapes or types in a weights file are not those of the model.
    #[error("{0}")]
    WeightsMismatch(Box<LoadReport>),

    /// A data file is damaged or of another kind than expected.
    #[error("{}: expected {expected}, found {found}", .path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What a sound file holds.
        expected: String,
        /// What this one holds.
        found: String,
    },

    /// A file could not be fetched.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },

    /// An image could not be decoded.
    #[error("{}: not a readable image: {reason}", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The decoder's own words.
        reason: String,
    },

    /// A run or export folder lacks something, or holds something that cannot be read.
    #[error("{}: {reason}", .path.display())]
    Folder {
        /// The folder or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Something is there already and is not overwritten unasked.
    #[error("{} exists already; {hint}", .path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
        /// What to do instead.
        hint: String,
    },

    /// A compute device was asked for that this build or this machine does not have.
    #[error("device `{device}`: {reason}")]
    Device {
        /// The device as it was written.
        device: String,
        /// Why it cannot be used.
        reason: String,
    },

    /// Training produced a loss that is not a number, or infinite.
    #[error(
        "the loss {} at learning rate {learning_rate:e}; try a lower learning rate or clipping; {}",
        match .batch {
            Some(batch) => format!(
                "became {loss} in epoch {epoch}, step {step} (batch {batch} of the epoch),"
            ),
            None => format!(
                "on the validation images was {loss} after step {step}, in epoch {epoch},"
            ),
        },
        match .checkpoint {
            Some(path) => format!("the last good checkpoint is {}", path.display()),
            None => "no checkpoint was written yet".to_owned(),
        }
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The step of the optimiser, counted from 1 over the whole run.
        step: usize,
        /// The batch within the epoch, counted from 1; `None` where the validation found it.
        batch: Option<usize>,
        /// The head's learning rate of that step.
        learning_rate: f64,
        /// The newest checkpoint, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// The device had not enough memory for a training step.
    #[error(
        "not enough memory for a training step with batches of {batch_size}: {reason}; what helps: {}",
        less_memory(*.batch_size, *.accumulate, *.least)
    )]
    OutOfMemory {
        /// Images that went through the model at once.
        batch_size: usize,
        /// Batches that were accumulated for one step.
        accumulate: usize,
        /// The smallest batch that trains: 2 where a batch normalisation would get a single value
        /// per channel from one image, else 1.
        least: usize,
        /// The device's own words.
        reason: String,
    },

    /// One image alone in a batch gives a batch normalisation that trains one value per channel:
    /// no variance can be learnt from it, and PyTorch refuses it, too.
    #[error(
        "{situation}: alone in its batch, an image of {height} x {width} pixels gives the batch \
         normalisation `{layer}`{} one value per channel, from which nothing can be learnt; what \
         helps: batches of at least 2 images (`--batch-size 2`), freezing {} \
         (`--freeze only:{}`), or larger images (`--image-size`); accumulating does not help",
        match .others {
            0 => String::new(),
            1 => " and one other".to_owned(),
            others => format!(" and {others} others"),
        },
        .groups.join(" and "),
        .groups.join(",")
    )]
    SingleValue {
        /// What leads to such a batch, in words.
        situation: String,
        /// The path of the first such layer.
        layer: String,
        /// Other such layers.
        others: usize,
        /// The groups that they are in.
        groups: Vec<String>,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },

    /// An image could not be read while a run was under way, which lost no more than the step that
    /// it was in.
    #[error(
        "{image}; the run stands at {}, before the step that needs this image; once the image is \
         mended, `burn-zoo finetune --resume {run}` goes on from there; with `--skip-broken` \
         behind it, such images are left out",
        .checkpoint.display(), run = path_word(.run)
    )]
    BrokenImage {
        /// What is wrong with it; it names the file.
        image: Box<Error>,
        /// The checkpoint that was written.
        checkpoint: PathBuf,
        /// The run folder.
        run: PathBuf,
    },

    /// Training was stopped by whoever watched it.
    #[error("interrupted{}", match .checkpoint {
        Some(path) => format!(
            "; the run stands at {}; `burn-zoo finetune --resume {}` goes on from there",
            path.display(),
            path_word(.run)
        ),
        None => "; nothing was written".to_owned(),
    })]
    Interrupted {
        /// The newest checkpoint, if there is one.
        checkpoint: Option<PathBuf>,
        /// The run folder.
        run: PathBuf,
    },

    /// One of the ranks that train together has ended, by an error of its own or without a word.
    #[error("rank {rank} on {host}: {reason}")]
    Rank {
        /// The rank, counted from 0.
        rank: usize,
        /// The machine that it ran on.
        host: String,
        /// Its error, or what was noticed.
        reason: String,
    },

    /// Trials of a search failed before any had reported anything.
    #[error("{failures} trials failed, and none has reported anything; the last one: {cause}")]
    Search {
        /// How many.
        failures: usize,
        /// Why the last one did.
        cause: String,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path in a command that can be copied.
fn path_word(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// A word of a command in a message, as a shell takes it for one.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Error {
    /// Shorthand for [`Error::Io`], for use in `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }

    /// What is wrong with a file, without its path: for a list that has the path beside it.
    pub fn without_path(&self) -> String {
        match self {
            Error::Io { source, .. } => source.to_string(),
            Error::Image { reason, .. } => reason.clone(),
            Error::Data {
                expected, found, ..
            } => format!("expected {expected}, found {found}"),
            other => other.to_string(),
        }
    }

    /// Shorthand for [`Error::InvalidArgument`].
    pub fn argument(
        argument: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Error {
        Error::InvalidArgument {
            argument: argument.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    /// Shorthand for [`Error::Data`].
    pub(crate) fn data(
        path: impl Into<PathBuf>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Data {
            path: path.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// What takes less memory. A smaller batch is only named where it trains.
fn less_memory(batch_size: usize, accumulate: usize, least: usize) -> String {
    let half = batch_size / 2;
    let others = "gradient checkpointing, freezing more, smaller images, bf16";
    if half < least.max(1) {
        return others.to_owned();
    }
    let same = if batch_size.is_multiple_of(2) {
        " (the same effective batch)"
    } else {
        ""
    };
    format!(
        "a batch size of {half} with {} batches accumulated{same}, {others}",
        accumulate * 2
    )
}

fn did_you_mean(suggestions: &[String]) -> String {
    if suggestions.is_empty() {
        "; `burn-zoo list` names them all".to_owned()
    } else {
        format!("; did you mean {}?", suggestions.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{less_memory, shell_word};

    #[test]
    fn a_shell_reads_one_word() {
        assert_eq!(shell_word("a/b=1"), "a/b=1");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn no_batch_is_recommended_that_does_not_train() {
        assert!(less_memory(8, 3, 2).starts_with("a batch size of 4 with 6 batches accumulated ("));
        assert!(less_memory(2, 1, 1).starts_with("a batch size of 1 with 2 batches accumulated ("));
        // Three images are not the same as twice one.
        assert!(less_memory(3, 1, 1).starts_with("a batch size of 1 with 2 batches accumulated,"));
        for (batch_size, least) in [(3, 2), (2, 2), (1, 1), (1, 2)] {
            let advice = less_memory(batch_size, 1, least);
            assert!(advice.starts_with("gradient checkpointing"), "{advice}");
        }
    }
}
