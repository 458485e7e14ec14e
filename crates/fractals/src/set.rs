//! Sets of images that are drawn when they are asked for.

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::layer::Context;
use super::options::FractalOptions;
use super::render::Category;
use super::tables::Tables;
use burn_zoo::data::{ImageData, Target};
use burn_zoo::error::{Error, Result};
use burn_zoo::init::Rng;
use burn_zoo::preprocess::Image;

/// Part of the fingerprint; another one whenever the same options give other pixels.
const VERSION: u32 = 1;

/// A set of images drawn from formulas when they are asked for.
///
/// Image `i` shows instance `first + i / categories` of category `i % categories`, so that any first part
/// of the set has its categories in equal numbers. The pixels follow from the options alone: they
/// are the same on every machine, in every order, and on any number of threads.
///
/// ```
/// use burn_zoo::data::ImageData as _;
/// use burn_zoo_fractals::{FractalOptions, Fractals};
///
/// # fn main() -> burn_zoo::Result<()> {
/// let options = FractalOptions { categories: 10, per_category: 100, ..Default::default() };
/// let data = Fractals::new(options)?;
/// let (image, target) = data.get(23)?;
/// assert_eq!((image.height(), image.width(), image.channels()), (32, 32, 3));
/// assert_eq!(target.class()?, 3);
/// # Ok(())
/// # }
/// ```
pub struct Fractals {
    options: FractalOptions,
    categories: Vec<Category>,
    classes: Vec<String>,
    tables: Tables,
}

impl Fractals {
    /// Draws the categories, on all threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the option's name for one outside its range; those are said
    /// at [`FractalOptions`].
    pub fn new(options: FractalOptions) -> Result<Self> {
        options.check()?;
        let tables = Tables::new();
        let context = Context {
            tables: &tables,
            size: options.size,
        };
        let numbers = 0..options.categories;
        let numbers = numbers.into_par_iter();
        let categories = numbers
            .map(|number| {
                let name = format!("fractals.category.{number}");
                let mut rng = Rng::new(options.seed, &name);
                Category::sample(options.is_atom(number), &context, &mut rng)
            })
            .collect();
        let classes = (0..options.categories).map(|number| class(&options, number));
        Ok(Fractals {
            classes: classes.collect(),
            categories,
            tables,
            options,
        })
    }

    /// An instance of a category, `[size, size, 3]`, or `[size, size, 1]` for
    /// [`Colour::Grey`](crate::Colour::Grey).
    /// Every number is an instance, whether or not the set has it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a category that there is not.
    pub fn render(&self, category: usize, instance: u64) -> Result<Image> {
        let Some(drawn) = self.categories.get(category) else {
            let expected = format!("below {}", self.categories.len());
            return Err(Error::argument("category", expected, category));
        };
        let name = format!("fractals.image.{category}.{instance}");
        let mut rng = Rng::new(self.options.seed, &name);
        let context = Context {
            tables: &self.tables,
            size: self.options.size,
        };
        let pixels = drawn.draw(&self.options, &context, &mut rng);
        let (size, channels) = (self.options.size, self.options.channels());
        Image::new(size, size, channels, pixels)
    }

    /// What the set was made of.
    pub fn options(&self) -> &FractalOptions {
        &self.options
    }

    fn checked(&self, index: usize) -> Result<usize> {
        if index < self.len() {
            return Ok(index);
        }
        let expected = format!("below {}", self.len());
        Err(Error::argument("index", expected, index))
    }
}

impl ImageData for Fractals {
    fn len(&self) -> usize {
        // The product is one of the things that are checked.
        self.options.categories * self.options.per_category
    }

    fn get(&self, index: usize) -> Result<(Image, Target)> {
        let label = self.checked(index)? % self.options.categories;
        let instance = (index / self.options.categories) as u64;
        let instance = self.options.first.wrapping_add(instance);
        Ok((self.render(label, instance)?, label.into()))
    }

    fn target(&self, index: usize) -> Result<Target> {
        Ok((self.checked(index)? % self.options.categories).into())
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(b"burn-zoo fractals");
        hash.update(VERSION.to_le_bytes());
        self.options.feed(|bytes| hash.update(bytes));
        Ok(hash.finalize().into())
    }
}

/// A class's name: `ifs-0003`, `atom-0004`.
fn class(options: &FractalOptions, number: usize) -> String {
    if options.is_atom(number) {
        format!("atom-{number:04}")
    } else {
        format!("ifs-{number:04}")
    }
}
