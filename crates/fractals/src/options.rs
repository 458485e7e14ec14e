//! What a set of fractals is made of.

use std::collections::HashSet;
use std::str::FromStr;

use burn_zoo::error::{Error, Result};

/// What [`Fractals`](super::Fractals) draws.
#[derive(Debug, Clone, PartialEq)]
pub struct FractalOptions {
    /// Classes, from 1.
    pub categories: usize,
    /// Images of a class, from 1.
    pub per_category: usize,
    /// The number of the first instance of each category. A set that begins where another one ends
    /// has other images of the same categories: one to validate on.
    pub first: u64,
    /// Pixels of an image's sides, 8 to 1024. The categories are the same for every size.
    pub size: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Grey or coloured.
    pub colour: Colour,
    /// The share of categories that are visual atoms; the others are iterated function systems.
    /// From 0 to 1.
    pub atoms: f64,
    /// The share of images on plain black; the others are on a plain colour, on a gradient, or on
    /// soft noise. From 0 to 1.
    pub black: f64,
    /// How much instances of a category differ.
    pub instance: Jitter,
}

impl Default for FractalOptions {
    /// 1000 categories of 100 images with 32 pixels a side, half of them atoms, on black as often
    /// as not, half of them grey.
    fn default() -> Self {
        FractalOptions {
            categories: 1000,
            per_category: 100,
            first: 0,
            size: 32,
            seed: 0,
            colour: Colour::default(),
            atoms: 0.5,
            black: 0.5,
            instance: Jitter::default(),
        }
    }
}

/// Which colours images have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// One channel.
    Grey,
    /// Three channels, all images coloured.
    Rgb,
    /// Three channels, half of the images grey.
    #[default]
    Mixed,
}

/// How much the instances of a category differ; drawn uniformly for each anew. With zeros they
/// still differ in their colours, in how a fractal is drawn, and in the phase of a texture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    /// The formula's own numbers: each map of a system, and the amplitude of each wave of an atom,
    /// is multiplied by up to 1 ± this; less for maps that hardly contract, whose effect is the
    /// larger. From 0 to 0.5.
    pub weights: f64,
    /// Degrees to either side, from 0 to 180.
    pub rotation: f64,
    /// How much longer than the other one axis becomes, as a share; 0 to 2.
    pub stretch: f64,
    /// The tangent of the shear's angle to either side, 0 to 1.
    pub shear: f64,
    /// How often an instance is mirrored, left to right; 0 to 1.
    pub flip: f64,
    /// The least and the largest length of a shape's longer side, as shares of the image's side;
    /// 0.1 to 2.
    pub scale: (f64, f64),
    /// How far from the middle, along each axis, as a share of the image's side; 0 to 0.5.
    pub shift: f64,
    /// How often a second, smaller instance of the same category is in the image; 0 to 1.
    pub second: f64,
}

impl Default for Jitter {
    fn default() -> Self {
        Jitter {
            weights: 0.2,
            rotation: 25.0,
            stretch: 0.25,
            shear: 0.2,
            flip: 0.5,
            scale: (0.62, 0.95),
            shift: 0.05,
            second: 0.08,
        }
    }
}

/// `KEY=VALUE` pairs with commas between them, of the keys `categories`, `per_category`, `first`,
/// `size`, `seed`, `colour` (grey, rgb or mixed), `atoms` and `black`; what is not named is the default.
impl FromStr for FractalOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut options = FractalOptions::default();
        let mut given = HashSet::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let wrong = |expected: &str| Error::argument("fractals", expected, format!("`{pair}`"));
            let Some((key, value)) = pair.split_once('=') else {
                return Err(wrong("KEY=VALUE pairs, such as categories=100,size=28"));
            };
            if !given.insert(key) {
                return Err(wrong("each key once"));
            }
            fn set<T: FromStr>(field: &mut T, value: &str) -> Option<()> {
                *field = value.parse().ok()?;
                Some(())
            }
            let read = match key {
                "categories" => set(&mut options.categories, value),
                "per_category" => set(&mut options.per_category, value),
                "first" => set(&mut options.first, value),
                "size" => set(&mut options.size, value),
                "seed" => set(&mut options.seed, value),
                "colour" => set(&mut options.colour, value),
                "atoms" => set(&mut options.atoms, value),
                "black" => set(&mut options.black, value),
                _ => return Err(wrong(KEYS)),
            };
            read.ok_or_else(|| wrong("a value that fits the key"))?;
        }
        options.check()?;
        Ok(options)
    }
}

const KEYS: &str =
    "one of the keys categories, per_category, first, size, seed, colour, atoms and black";

/// `grey`, `rgb` or `mixed`.
impl FromStr for Colour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "grey" => Ok(Colour::Grey),
            "rgb" => Ok(Colour::Rgb),
            "mixed" => Ok(Colour::Mixed),
            _ => Err(Error::argument(
                "colour",
                "grey, rgb or mixed",
                format!("`{text}`"),
            )),
        }
    }
}

impl FractalOptions {
    /// Channels of an image.
    pub(super) fn channels(&self) -> usize {
        match self.colour {
            Colour::Grey => 1,
            Colour::Rgb | Colour::Mixed => 3,
        }
    }

    /// Whether a category is an atom: as many are as `atoms` says, spread evenly.
    pub(super) fn is_atom(&self, number: usize) -> bool {
        let atoms = (self.atoms * self.categories as f64 + 0.5) as u128;
        let before = |number: usize| number as u128 * atoms / self.categories.max(1) as u128;
        before(number + 1) > before(number)
    }

    pub(super) fn check(&self) -> Result<()> {
        whole("categories", self.categories, 1, 1_000_000)?;
        whole("per_category", self.per_category, 1, usize::MAX)?;
        whole("size", self.size, 8, 1024)?;
        if self.categories.checked_mul(self.per_category).is_none() {
            let expected = format!("at most {}", usize::MAX / self.categories);
            return Err(Error::argument("per_category", expected, self.per_category));
        }
        within("atoms", self.atoms, 0.0, 1.0)?;
        within("black", self.black, 0.0, 1.0)?;
        self.instance.check()
    }

    /// Hands every option to `hash`, in a fixed order.
    pub(super) fn feed(&self, mut hash: impl FnMut(&[u8])) {
        let colour = match self.colour {
            Colour::Grey => 0,
            Colour::Rgb => 1,
            Colour::Mixed => 2,
        };
        let counts = [self.categories, self.per_category, self.size].map(|value| value as u64);
        for value in counts.into_iter().chain([self.first, self.seed, colour]) {
            hash(&value.to_le_bytes());
        }
        for value in [self.atoms, self.black]
            .into_iter()
            .chain(self.instance.values())
        {
            hash(&value.to_bits().to_le_bytes());
        }
    }
}

impl Jitter {
    fn check(&self) -> Result<()> {
        within("instance.weights", self.weights, 0.0, 0.5)?;
        within("instance.rotation", self.rotation, 0.0, 180.0)?;
        within("instance.stretch", self.stretch, 0.0, 2.0)?;
        within("instance.shear", self.shear, 0.0, 1.0)?;
        within("instance.flip", self.flip, 0.0, 1.0)?;
        within("instance.scale.0", self.scale.0, 0.1, 2.0)?;
        within("instance.scale.1", self.scale.1, self.scale.0, 2.0)?;
        within("instance.shift", self.shift, 0.0, 0.5)?;
        within("instance.second", self.second, 0.0, 1.0)
    }

    fn values(&self) -> [f64; 9] {
        [
            self.weights,
            self.rotation,
            self.stretch,
            self.shear,
            self.flip,
            self.scale.0,
            self.scale.1,
            self.shift,
            self.second,
        ]
    }
}

fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    // Written so that NaN is outside.
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let expected = format!("a number from {low} to {high}");
    Err(Error::argument(name, expected, value))
}

fn whole(name: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let expected = match high {
        usize::MAX => format!("at least {low}"),
        _ => format!("from {low} to {high}"),
    };
    Err(Error::argument(name, expected, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        type Change = fn(&mut FractalOptions);
        let changes: [(Change, &str); 12] = [
            (
                |o| o.categories = 0,
                "categories: expected from 1 to 1000000, found 0",
            ),
            (
                |o| o.per_category = 0,
                "per_category: expected at least 1, found 0",
            ),
            (|o| o.size = 7, "size: expected from 8 to 1024, found 7"),
            (
                |o| o.atoms = 1.5,
                "atoms: expected a number from 0 to 1, found 1.5",
            ),
            (
                |o| o.black = f64::NAN,
                "black: expected a number from 0 to 1, found NaN",
            ),
            (|o| o.instance.weights = 0.6, "instance.weights: "),
            (|o| o.instance.rotation = -1.0, "instance.rotation: "),
            (|o| o.instance.stretch = 3.0, "instance.stretch: "),
            (|o| o.instance.shear = f64::INFINITY, "instance.shear: "),
            (|o| o.instance.flip = 2.0, "instance.flip: "),
            (|o| o.instance.scale = (0.9, 0.8), "instance.scale.1: "),
            (|o| o.instance.shift = 0.7, "instance.shift: "),
        ];
        for (change, expected) in changes {
            let mut options = FractalOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let options = FractalOptions {
            per_category: usize::MAX,
            ..Default::default()
        };
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.starts_with("per_category: expected at most "),
            "{error}"
        );
    }

    #[test]
    fn options_are_read_from_text() {
        let text =
            "categories=12,per_category=3,first=7,size=28,seed=5,colour=grey,atoms=0.25,black=1";
        let found: FractalOptions = text.parse().unwrap();
        let expected = FractalOptions {
            categories: 12,
            per_category: 3,
            first: 7,
            size: 28,
            seed: 5,
            colour: Colour::Grey,
            atoms: 0.25,
            black: 1.0,
            ..Default::default()
        };
        assert_eq!(found, expected);
        assert_eq!(
            "".parse::<FractalOptions>().unwrap(),
            FractalOptions::default()
        );
        for (text, expected) in [
            ("size", "fractals: expected KEY=VALUE pairs"),
            ("sizes=3", "fractals: expected one of the keys"),
            (
                "size=x",
                "fractals: expected a value that fits the key, found `size=x`",
            ),
            (
                "colour=blue",
                "fractals: expected a value that fits the key",
            ),
            ("size=3", "size: expected from 8 to 1024, found 3"),
            (
                "size=28,seed=1,size=32",
                "fractals: expected each key once, found `size=32`",
            ),
        ] {
            let error = text.parse::<FractalOptions>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn as_many_categories_are_atoms_as_asked() {
        for (atoms, expected) in [(0.0, 0), (0.25, 10), (0.5, 20), (0.51, 20), (1.0, 40)] {
            let options = FractalOptions {
                categories: 40,
                atoms,
                ..Default::default()
            };
            let found = (0..40).filter(|number| options.is_atom(*number)).count();
            assert_eq!(found, expected);
        }
    }
}
