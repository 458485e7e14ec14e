//! `fractals`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use burn_zoo::data::ImageData as _;
use burn_zoo_fractals::{FractalOptions, Fractals};
use clap::Args;

use crate::flags::count;
use crate::output::print;

#[derive(Args)]
pub struct FractalsArgs {
    /// Where the picture goes, a .png: a row for each category, instances side by side
    #[arg(long, value_name = "FILE")]
    grid: PathBuf,
    /// What is drawn: categories, per_category, first, size, seed, colour (grey, rgb or mixed),
    /// atoms (the share of filled contours), black (the share of images on black)
    #[arg(long, value_name = "KEY=VALUE,..", default_value = "")]
    options: FractalOptions,
    /// Categories in the picture
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count::<1024>)]
    rows: usize,
    /// Instances of each
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count::<1024>)]
    columns: usize,
    /// Side of an image in the picture, in pixels
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count::<1024>)]
    cell: usize,
    /// Replace a file that exists
    #[arg(long)]
    overwrite: bool,
}

/// Draws images made of formulas.
pub fn run(args: &FractalsArgs) -> Result<()> {
    let path = &args.grid;
    if path
        .extension()
        .is_none_or(|e| !e.eq_ignore_ascii_case("png"))
    {
        bail!(
            "--grid: expected a name that ends in .png, found {}",
            path.display()
        );
    }
    if path.exists() && !args.overwrite {
        bail!("{} exists; --overwrite replaces it", path.display());
    }
    let fractals = Fractals::new(args.options.clone())?;
    // A set that is smaller than the picture is shown whole.
    let rows = args.rows.min(args.options.categories);
    let columns = args.columns.min(args.options.per_category);
    let image = fractals.grid(rows, columns, args.cell)?;
    burn_zoo::write_file(path, &image.to_png()?)?;
    print(format!(
        "{}: {rows} of {} categories, {columns} of {} instances each, drawn at {} pixels",
        path.display(),
        fractals.classes().len(),
        args.options.per_category,
        args.options.size,
    ))
}
