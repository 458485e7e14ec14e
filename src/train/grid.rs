//! Many images as one, for a person to look at: inputs, or predictions against the truth.

use super::font;
use crate::error::{Error, Result};
use crate::preprocess::Image;

/// A colour for what was recognised; red and green as they differ for colour-blind people too.
pub const RIGHT_COLOR: [u8; 3] = [0, 125, 90];
/// A colour for what was not recognised.
pub const WRONG_COLOR: [u8; 3] = [200, 70, 0];

/// Images smaller than this are enlarged.
const MIN_SIDE: usize = 128;
/// No side of a grid is longer; browsers and image viewers show no more.
const MAX_SIDE: usize = 16_384;
/// The widest space between images.
const MAX_PADDING: usize = 256;
/// How many letters should fit below an image before they are drawn larger.
const LETTERS: usize = 18;
/// How many lines a caption has at most.
const LINES: usize = 3;

const PAPER: [u8; 3] = [255; 3];

/// A grid of images on white, row by row, as RGB.
///
/// All cells have the size of the largest image. Where that is below 128 pixels it is enlarged by
/// a whole number, pixels as squares, until it is not: 28 pixels become 140. Smaller images are
/// enlarged likewise as far as they fit, and stand in the middle.
///
/// `padding` is the space between images and around them, 0 to 256 pixels. With `captions`, one
/// for each image, every image has a frame in the caption's colour and its text below, wrapped
/// between words to at most three lines. Line breaks are kept; characters other than those of
/// ASCII become boxes.
///
/// # Errors
/// [`Error::InvalidArgument`] for no images, no columns, a padding out of range, images that have
/// neither one nor three channels, not as many captions as images, or a grid of more than 16384
/// pixels a side.
pub fn image_grid(
    images: &[Image],
    columns: usize,
    padding: usize,
    captions: Option<&[(String, [u8; 3])]>,
) -> Result<Image> {
    check(images, columns, padding, captions)?;
    let columns = columns.min(images.len());
    let cell = Cell::new(images, captions);
    let side = |count: usize, size: usize| {
        size.checked_add(padding)
            .and_then(|size| size.checked_mul(count))
            .and_then(|side| side.checked_add(padding))
            .filter(|side| *side <= MAX_SIDE)
            .ok_or_else(|| {
                let expected = format!("a grid of at most {MAX_SIDE} pixels a side");
                let found = format!("{count} times {size} pixels");
                Error::argument("images", expected, found)
            })
    };
    let width = side(columns, cell.outer_width())?;
    let height = side(images.len().div_ceil(columns), cell.outer_height())?;
    let mut canvas = Canvas {
        width,
        pixels: vec![PAPER; width * height],
    };
    for (index, image) in images.iter().enumerate() {
        let left = padding + index % columns * (cell.outer_width() + padding);
        let top = padding + index / columns * (cell.outer_height() + padding);
        cell.draw(&mut canvas, [left, top], image, captions.map(|c| &c[index]));
    }
    Image::new(height, width, 3, canvas.pixels.into_flattened())
}

fn check(
    images: &[Image],
    columns: usize,
    padding: usize,
    captions: Option<&[(String, [u8; 3])]>,
) -> Result<()> {
    if images.is_empty() {
        return Err(Error::argument("images", "at least one", 0));
    }
    if columns == 0 {
        return Err(Error::argument("columns", "at least one", 0));
    }
    if padding > MAX_PADDING {
        let expected = format!("0 to {MAX_PADDING} pixels");
        return Err(Error::argument("padding", expected, padding));
    }
    if let Some(image) = images.iter().find(|i| ![1, 3].contains(&i.channels())) {
        return Err(Error::argument(
            "images",
            "1 or 3 channels",
            image.channels(),
        ));
    }
    match captions {
        Some(captions) if captions.len() != images.len() => Err(Error::argument(
            "captions",
            format!("{}, as many as images", images.len()),
            captions.len(),
        )),
        _ => Ok(()),
    }
}

/// The measures of one cell, in pixels.
struct Cell {
    /// Of the largest image, enlarged.
    width: usize,
    height: usize,
    frame: usize,
    /// How many pixels a pixel of a letter takes, and how many lines there are.
    letter: usize,
    lines: usize,
}

impl Cell {
    fn new(images: &[Image], captions: Option<&[(String, [u8; 3])]>) -> Self {
        let width = images.iter().map(Image::width).max().unwrap_or(1);
        let height = images.iter().map(Image::height).max().unwrap_or(1);
        let factor = MIN_SIDE.div_ceil(width.max(height));
        let mut cell = Self {
            width: width * factor,
            height: height * factor,
            frame: 0,
            letter: 0,
            lines: 0,
        };
        if let Some(captions) = captions {
            cell.frame = (cell.width.max(cell.height) / 48).max(3);
            cell.letter = (cell.outer_width() / (LETTERS * (font::WIDTH + 1))).max(1);
            let lines = captions.iter().map(|(text, _)| cell.wrap(text).len());
            cell.lines = lines.max().unwrap_or(0);
        }
        cell
    }

    fn outer_width(&self) -> usize {
        self.width.saturating_add(2 * self.frame)
    }

    fn outer_height(&self) -> usize {
        let text = self.lines * self.line_height() + self.letter;
        self.height.saturating_add(2 * self.frame + text)
    }

    fn line_height(&self) -> usize {
        (font::HEIGHT + 1) * self.letter
    }

    /// The lines of a caption.
    fn wrap(&self, text: &str) -> Vec<String> {
        wrap(text, self.outer_width() / ((font::WIDTH + 1) * self.letter))
    }

    fn draw(
        &self,
        canvas: &mut Canvas,
        [left, top]: [usize; 2],
        image: &Image,
        caption: Option<&(String, [u8; 3])>,
    ) {
        if let Some((text, color)) = caption {
            let bottom = top + self.height + 2 * self.frame;
            for y in top..bottom {
                canvas.row(left, y, self.outer_width()).fill(*color);
            }
            for y in top + self.frame..bottom - self.frame {
                canvas.row(left + self.frame, y, self.width).fill(PAPER);
            }
            for (index, line) in self.wrap(text).iter().enumerate() {
                let top = bottom + self.letter + index * self.line_height();
                canvas.text([left, top], line, self.letter, *color);
            }
        }
        let fits = (self.width / image.width()).min(self.height / image.height());
        let left = left + self.frame + (self.width - fits * image.width()) / 2;
        let top = top + self.frame + (self.height - fits * image.height()) / 2;
        canvas.image([left, top], image, fits);
    }
}

/// Breaks a text between words, or within a word that is too long.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        let mut length = 0;
        for word in line.split_whitespace() {
            let letters: Vec<char> = word.chars().collect();
            for (index, piece) in letters.chunks(width).enumerate() {
                // Only the first piece of a word can follow another one in a line.
                let fits = index == 0 && length + 1 + piece.len() <= width;
                if length > 0 && fits {
                    current.push(' ');
                    length += 1;
                } else if length > 0 {
                    lines.push(std::mem::take(&mut current));
                    length = 0;
                }
                current.extend(piece);
                length += piece.len();
            }
        }
        lines.push(current);
    }
    if lines.len() > LINES {
        lines.truncate(LINES);
        let last = &mut lines[LINES - 1];
        let keep = last.chars().count().min(width.saturating_sub(2));
        let cut = last.chars().take(keep).chain("..".chars()).take(width);
        *last = cut.collect();
    }
    lines
}

struct Canvas {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    /// Part of a row.
    fn row(&mut self, left: usize, y: usize, length: usize) -> &mut [[u8; 3]] {
        let start = y * self.width + left;
        &mut self.pixels[start..start + length]
    }

    /// An image whose pixels become squares.
    fn image(&mut self, [left, top]: [usize; 2], image: &Image, factor: usize) {
        let channels = image.channels();
        let rows = image.pixels().chunks_exact(image.width() * channels);
        for (y, pixels) in rows.enumerate() {
            let row = top + y * factor;
            let width = image.width() * factor;
            let squares = self.row(left, row, width).chunks_exact_mut(factor);
            for (square, pixel) in squares.zip(pixels.chunks_exact(channels)) {
                square.fill(std::array::from_fn(|channel| pixel[channel % channels]));
            }
            let start = row * self.width + left;
            for copy in 1..factor {
                self.pixels
                    .copy_within(start..start + width, start + copy * self.width);
            }
        }
    }

    /// A line of text, whose left and upper end is given.
    fn text(&mut self, [left, top]: [usize; 2], line: &str, letter: usize, color: [u8; 3]) {
        for (index, character) in line.chars().enumerate() {
            let left = left + index * (font::WIDTH + 1) * letter;
            for y in 0..font::HEIGHT {
                for x in (0..font::WIDTH).filter(|x| font::is_ink(character, *x, y)) {
                    for row in 0..letter {
                        self.row(left + x * letter, top + y * letter + row, letter)
                            .fill(color);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(height: usize, width: usize, channels: usize, value: u8) -> Image {
        let pixels = vec![value; height * width * channels];
        Image::new(height, width, channels, pixels).unwrap()
    }

    fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
        let start = (y * image.width() + x) * 3;
        image.pixels()[start..start + 3].try_into().unwrap()
    }

    #[test]
    fn small_images_become_squares_in_their_places() {
        let pixels: Vec<u8> = (0..28 * 28).map(|i| (i % 251) as u8).collect();
        let first = Image::new(28, 28, 1, pixels).unwrap();
        let second = image(28, 28, 3, 9);
        let grid = image_grid(&[first.clone(), second, first.clone()], 2, 4, None).unwrap();
        assert_eq!((grid.height(), grid.width()), (2 * 144 + 4, 2 * 144 + 4));
        assert_eq!(grid.channels(), 3);
        for [x, y] in [[0, 0], [27, 27], [3, 20]] {
            let value = first.pixels()[y * 28 + x];
            for corner in [[0, 0], [4, 0], [0, 4], [4, 4]] {
                let at = |top| pixel(&grid, 4 + 5 * x + corner[0], top + 5 * y + corner[1]);
                assert_eq!(at(4), [value; 3]);
                assert_eq!(at(4 + 144), [value; 3]);
            }
        }
        assert_eq!(pixel(&grid, 4 + 144, 4), [9; 3]);
        // Around, between, and where a fourth would be.
        for [x, y] in [[3, 3], [145, 50], [200, 200]] {
            assert_eq!(pixel(&grid, x, y), PAPER);
        }
    }

    #[test]
    fn images_of_all_sizes_stand_in_the_middle() {
        let images = [image(200, 100, 3, 0), image(50, 20, 3, 0)];
        let grid = image_grid(&images, 9, 0, None).unwrap();
        assert_eq!((grid.height(), grid.width()), (200, 200));
        // Four times as large, 80 wide in a cell of 100.
        assert_eq!(pixel(&grid, 109, 100), PAPER);
        assert_eq!(pixel(&grid, 110, 0), [0; 3]);
        assert_eq!(pixel(&grid, 189, 199), [0; 3]);
        assert_eq!(pixel(&grid, 190, 100), PAPER);
    }

    #[test]
    fn captions_frame_their_image_and_can_be_read() {
        let captions = [
            ("LI".to_owned(), RIGHT_COLOR),
            (
                "not ä\nbut a much too long caption for three lines of text".to_owned(),
                [1, 2, 3],
            ),
        ];
        let images = [image(128, 128, 1, 77), image(128, 128, 1, 77)];
        let grid = image_grid(&images, 2, 10, Some(&captions)).unwrap();
        // The image, the frame on both sides, three lines of nine pixels and one between.
        assert_eq!((grid.height(), grid.width()), (20 + 134 + 31, 30 + 2 * 134));
        assert_eq!(pixel(&grid, 10, 10), RIGHT_COLOR);
        assert_eq!(pixel(&grid, 12, 143), RIGHT_COLOR);
        assert_eq!(pixel(&grid, 13, 13), [77; 3]);
        assert_eq!(pixel(&grid, 140, 140), [77; 3]);
        assert_eq!(pixel(&grid, 154, 10), [1, 2, 3]);
        let line: Vec<String> = (0..9)
            .map(|y| {
                let ink = |x: usize| pixel(&grid, 10 + x, 145 + y) == RIGHT_COLOR;
                (0..11).map(|x| if ink(x) { '#' } else { '.' }).collect()
            })
            .collect();
        assert_eq!(
            line,
            [
                "#......###.",
                "#.......#..",
                "#.......#..",
                "#.......#..",
                "#.......#..",
                "#.......#..",
                "#####..###.",
                "...........",
                "...........",
            ]
        );
    }

    #[test]
    fn a_narrow_image_can_have_a_caption() {
        let captions = [("long caption".to_owned(), WRONG_COLOR)];
        let grid = image_grid(&[image(300, 1, 1, 0)], 1, 0, Some(&captions)).unwrap();
        assert_eq!((grid.height(), grid.width()), (300 + 12 + 31, 13));
    }

    #[test]
    fn captions_are_wrapped() {
        assert_eq!(wrap("ankle boot 98 %", 10), ["ankle boot", "98 %"]);
        assert_eq!(wrap("a\n\nb", 10), ["a", "", "b"]);
        assert_eq!(wrap("x abcdefgh", 4), ["x", "abcd", "efgh"]);
        assert_eq!(wrap("x abcdefgh yz", 4), ["x", "abcd", "ef.."]);
        assert_eq!(wrap("", 4), [""; 0]);
        assert_eq!(wrap("abcd", 1), ["a", "b", "."]);
    }

    #[test]
    fn every_letter_is_another() {
        let shape = |letter: char| -> Vec<bool> {
            (0..font::HEIGHT)
                .flat_map(|y| (0..font::WIDTH).map(move |x| font::is_ink(letter, x, y)))
                .collect()
        };
        let letters: Vec<char> = (' '..='~').chain(['ä']).collect();
        let shapes: std::collections::HashSet<_> = letters.iter().map(|c| shape(*c)).collect();
        assert_eq!(shapes.len(), 96);
    }

    #[test]
    fn what_makes_no_grid_is_refused() {
        let one = [image(8, 8, 1, 0)];
        let words = |result: Result<Image>| result.unwrap_err().to_string();
        assert!(words(image_grid(&[], 1, 0, None)).starts_with("images: "));
        assert!(words(image_grid(&one, 0, 0, None)).starts_with("columns: "));
        assert!(words(image_grid(&one, 1, 257, None)).starts_with("padding: "));
        assert!(words(image_grid(&one, 1, 0, Some(&[]))).starts_with("captions: "));
        assert!(words(image_grid(&[image(8, 8, 2, 0)], 1, 0, None)).starts_with("images: "));
        let many = vec![one[0].clone(); 200];
        assert!(words(image_grid(&many, 200, 0, None)).contains("16384"));
        assert!(image_grid(&many, 100, 0, None).is_ok());
    }
}
