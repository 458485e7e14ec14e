//! What a run leaves for looking at. Training knows nothing of it: who trains hands in the monitors.
//!
//! - [`Report`]: the run as one page and a few pictures, once it has ended (feature `plots`)
//! - [`CurvesMonitor`]: its curves as a picture while it goes on (feature `plots`)
//! - [`ModelCard`]: the README of its model on the hub (feature `plots`)
//! - [`TensorBoardMonitor`](tensorboard::TensorBoardMonitor): event files (feature `tensorboard`)
//!
//! [`Report`] is plain data; [`Report::write`] makes of it `report.html`, which needs nothing but
//! itself (pictures and styles are inside, there are no scripts, and its content policy forbids
//! every request), and the folder `report` with the same pictures as files:
//!
//! | file | holds |
//! |---|---|
//! | `loss.svg` | training and validation loss over the run, and the loss of single steps |
//! | `accuracy.svg` | training and validation accuracy, and that of averaged weights if there are any |
//! | `rates.svg` | the learning rate of each group, and when each group trains |
//! | `confusion.svg` | the confusion matrix |
//! | `mistakes.png` | the mistakes the model was surest of, in the order of the page |
//!
//! The page of a search, [`SearchResult::write_report`](crate::tune::SearchResult::write_report), has a script
//! of its own (features `plots` and `tune`).
//!
//! Page and pictures follow the reader's choice of light or dark, and print in light colours.

mod bitmap_font;
mod image_grid;
#[cfg(feature = "plots")]
mod model_card;
#[cfg(feature = "plots")]
mod run_report;
#[cfg(all(feature = "plots", feature = "tune"))]
mod search_report;
#[cfg(feature = "tensorboard")]
pub mod tensorboard;

#[cfg(feature = "plots")]
pub use model_card::ModelCard;
#[cfg(feature = "plots")]
pub use run_report::{CurvesMonitor, Report};
