//! Folders and CSV files on disk.

mod csv;
mod folders;
mod image_files;
#[path = "../../../../tests/common/labelled_folder.rs"]
mod labelled_folder;
mod multi_label;
mod numbers;
mod tables;
