//! Images of one's own as a data set: a folder for each class, as torchvision's `ImageFolder` and
//! timm's folder reader have it, or a CSV file of paths and labels.

mod channels;
mod check;
mod check_cache;
mod class_folders;
mod class_names;
mod csv;
mod csv_report;
mod directory;
mod evaluation;
mod extensions;
mod file_id;
mod image_files;
mod image_folder;
mod layout;
mod left_out;
mod linked_images;
mod listing;
mod open;
mod options;
mod part;
mod report;
mod same_files;
mod sample;
mod seeded_split;
mod splits;
mod target_report;
mod target_table;
#[cfg(test)]
mod tests;
mod warning;

pub use check::CheckProgress;
pub use evaluation::EvaluationSet;
pub use image_files::ImageFiles;
pub use image_folder::ImageFolder;
pub use options::{Broken, Check, CsvOptions, CsvSplit, FolderOptions};
pub use part::Part;
pub use report::{Division, FolderReport, Skipped};
pub use splits::Splits;
