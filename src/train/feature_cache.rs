//! Whether and where the output of frozen layers is kept: [`FeatureCache`].

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::{Form, Style, text_form};

/// Where the features of frozen layers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CachePlace {
    /// In memory if they take at most a quarter of what is free, else in the run folder if they
    /// take at most half of what is free there, else nowhere.
    #[default]
    Auto,
    /// In main memory.
    Memory,
    /// In files of the run folder. They are deleted when they are no longer needed, and when the
    /// run ends; an interrupted run goes on with them.
    Disk,
    /// Nowhere: they are computed again in each epoch.
    Off,
}

/// Whether, where and how the output of frozen layers is kept.
///
/// As long as the first groups of a model are frozen, an image that looks the same in each epoch
/// comes out of them the same. Their output (of a whole frozen backbone: what the head gets) is
/// then computed once for every image, and each further epoch costs what the rest of the model
/// costs. Features are computed anew when what is frozen changes, and only where they are used for
/// more than one epoch.
///
/// Training images that are augmented differ from epoch to epoch; with `views`, so
/// many augmented views of each are kept and take turns. Mixed images (mixup, CutMix) are never
/// kept. Images for validation never vary.
///
/// As text, in recipes and on the command line, a place, then, if wanted, `:f16` (half the room,
/// values rounded to 11 bits) and `:views=COUNT`. The places:
///
/// * `auto`, the default: in memory if they take at most a quarter of what is free, else in the run
///   folder if they take at most half of what is free there, else nowhere;
/// * `memory`: in main memory;
/// * `disk`: in files of the run folder. They are deleted when they are no longer needed, and when
///   the run ends; an interrupted run goes on with them;
/// * `off`: nowhere; they are computed again in each epoch.
///
/// ```
/// use burn_zoo::train::FeatureCache;
///
/// let cache: FeatureCache = "disk:f16:views=4".parse().unwrap();
/// assert_eq!(cache.to_string(), "disk:f16:views=4");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureCache {
    /// Where they are kept.
    #[serde(rename = "kind")]
    pub(crate) place: CachePlace,
    /// Keeps them in 16 bits: half the room, values rounded to 11 bits.
    #[serde(rename = "f16", default)]
    pub(crate) half: bool,
    /// Augmented views of each training image that are kept and take turns; 0 keeps augmented images
    /// out.
    #[serde(default)]
    pub(crate) views: usize,
}

impl FeatureCache {
    /// Refuses what would have no effect: `augmented` says whether the training images are, `mixed`
    /// whether they are mixed with each other.
    pub(super) fn check(&self, augmented: bool, mixed: bool) -> Result<()> {
        let wrong = |expected: &str| Err(Error::argument("feature_cache", expected, self));
        if self.views > 1000 {
            return wrong("at most 1000 views");
        }
        if self.place == CachePlace::Off && (self.half || self.views > 0) {
            return wrong("neither f16 nor views, where nothing is kept");
        }
        if self.views > 0 && !augmented {
            return wrong("no views, where images are not augmented");
        }
        if self.views > 0 && mixed {
            return wrong("no views, where images are mixed with each other");
        }
        Ok(())
    }
}

text_form!(
    /// A place, then `:f16` and `:views=COUNT` if wanted.
    FeatureCache,
    Form::new("feature_cache", Style::Colons, &[]),
    |_| Ok(())
);
