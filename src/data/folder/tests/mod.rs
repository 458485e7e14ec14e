//! Folders and CSV files on disk.

mod csv;
mod folders;
mod image_files;
