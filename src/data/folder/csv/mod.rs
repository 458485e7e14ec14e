//! CSV files of paths and labels.

mod column_names;
mod columns;
mod decode_text;
mod image_paths;
mod list;
mod table;

pub(super) use list::list;
