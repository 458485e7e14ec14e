//! Many images as one, for a person to look at.

use super::bitmap_font as font;
use crate::error::Result;
use crate::preprocess::Image;

/// Images row by row, each in the middle of a cell, enlarged by a whole number as far as it fits:
/// pixels as squares.
pub(super) struct Grid {
    pub columns: usize,
    /// Height and width of a cell, at least those of the largest image.
    pub cell: [usize; 2],
    /// Pixels between cells and around them.
    pub gap: usize,
    pub ground: [u8; 3],
}

/// A caption below an image, wrapped between words to at most three lines; characters other than
/// those of ASCII become boxes. The image gets a frame in the caption's colour.
#[cfg_attr(not(feature = "tensorboard"), allow(dead_code))] // a report has no captions
pub(super) struct Caption {
    pub text: String,
    pub color: [u8; 3],
}

/// How many letters should fit below an image before they are drawn larger.
const LETTERS: usize = 18;
/// How many lines a caption has at most.
const MAX_LINES: usize = 3;

/// The measures of captions, in pixels.
struct Measures {
    frame: usize,
    /// How many pixels a pixel of a letter takes.
    letter: usize,
    /// Letters in a line.
    letters: usize,
    lines: usize,
}

impl Grid {
    /// Draws grey and RGB images as RGB. There are as many captions as images, or none.
    pub fn draw(&self, images: &[&Image], captions: &[Caption]) -> Result<Image> {
        let measures = Measures::of(self.cell, captions);
        let Measures { frame, letter, .. } = measures;
        let text = measures.lines * (font::HEIGHT + 1) * letter + letter;
        let [height, width] = self.cell.map(|side| side + 2 * frame);
        let columns = self.columns.min(images.len());
        let rows = images.len().div_ceil(columns.max(1));
        let canvas_width = columns * (width + self.gap) + self.gap;
        let canvas_height = rows * (height + text + self.gap) + self.gap;
        let mut canvas = Canvas {
            width: canvas_width,
            pixels: vec![self.ground; canvas_width * canvas_height],
        };
        for (index, image) in images.iter().enumerate() {
            let left = self.gap + index % columns * (width + self.gap);
            let top = self.gap + index / columns * (height + text + self.gap);
            if let Some(caption) = captions.get(index) {
                canvas.fill([left, top], [width, height], caption.color);
                let inside = [left + frame, top + frame];
                canvas.fill(inside, [self.cell[1], self.cell[0]], self.ground);
                for (line, text) in wrap(&caption.text, measures.letters).iter().enumerate() {
                    let top = top + height + letter + line * (font::HEIGHT + 1) * letter;
                    canvas.text([left, top], text, letter, caption.color);
                }
            }
            let [fit_down, fit_across] =
                [self.cell[0] / image.height(), self.cell[1] / image.width()];
            let factor = fit_down.min(fit_across).max(1);
            let left = left + frame + (self.cell[1] - factor * image.width()) / 2;
            let top = top + frame + (self.cell[0] - factor * image.height()) / 2;
            canvas.image([left, top], image, factor);
        }
        Image::new(
            canvas_height,
            canvas_width,
            3,
            canvas.pixels.into_flattened(),
        )
    }
}

impl Measures {
    fn of([height, width]: [usize; 2], captions: &[Caption]) -> Self {
        if captions.is_empty() {
            return Self {
                frame: 0,
                letter: 0,
                letters: 0,
                lines: 0,
            };
        }
        let frame = (width.max(height) / 48).max(3);
        let letter = ((width + 2 * frame) / (LETTERS * (font::WIDTH + 1))).max(1);
        let letters = (width + 2 * frame) / ((font::WIDTH + 1) * letter);
        let lines = captions
            .iter()
            .map(|caption| wrap(&caption.text, letters).len());
        Self {
            frame,
            letter,
            letters,
            lines: lines.max().unwrap_or(0),
        }
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
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        let last = &mut lines[MAX_LINES - 1];
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
    fn fill(&mut self, [left, top]: [usize; 2], [width, height]: [usize; 2], color: [u8; 3]) {
        for y in top..top + height {
            self.pixels[y * self.width + left..][..width].fill(color);
        }
    }

    /// An image whose pixels become squares.
    fn image(&mut self, [left, top]: [usize; 2], image: &Image, factor: usize) {
        let channels = image.channels();
        for (index, pixel) in image.pixels().chunks_exact(channels).enumerate() {
            let x = left + index % image.width() * factor;
            let y = top + index / image.width() * factor;
            let color = std::array::from_fn(|channel| pixel[channel % channels]);
            self.fill([x, y], [factor; 2], color);
        }
    }

    /// A line of text, whose left and upper end is given.
    fn text(&mut self, [left, top]: [usize; 2], line: &str, letter: usize, color: [u8; 3]) {
        for (index, character) in line.chars().enumerate() {
            let left = left + index * (font::WIDTH + 1) * letter;
            for y in 0..font::HEIGHT {
                for x in (0..font::WIDTH).filter(|x| font::is_ink(character, *x, y)) {
                    self.fill([left + x * letter, top + y * letter], [letter; 2], color);
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

    const PAPER: [u8; 3] = [255; 3];
    const INK: [u8; 3] = [0, 125, 90];

    fn grid(columns: usize, cell: [usize; 2], gap: usize) -> Grid {
        Grid {
            columns,
            cell,
            gap,
            ground: PAPER,
        }
    }

    fn caption(text: &str, color: [u8; 3]) -> Caption {
        Caption {
            text: text.to_owned(),
            color,
        }
    }

    #[test]
    fn small_images_become_squares_in_their_places() {
        let pixels: Vec<u8> = (0..28 * 28).map(|i| (i % 251) as u8).collect();
        let first = Image::new(28, 28, 1, pixels).unwrap();
        let second = image(28, 28, 3, 9);
        let images = [&first, &second, &first];
        let grid = grid(2, [140; 2], 4).draw(&images, &[]).unwrap();
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
        let images: Vec<&Image> = images.iter().collect();
        let grid = grid(9, [200, 100], 0).draw(&images, &[]).unwrap();
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
            caption("LI", INK),
            caption(
                "not ä\nbut a much too long caption for three lines of text",
                [1, 2, 3],
            ),
        ];
        let image = image(128, 128, 1, 77);
        let grid = grid(2, [128; 2], 10);
        let grid = grid.draw(&[&image, &image], &captions).unwrap();
        // The image, the frame on both sides, three lines of nine pixels and one between.
        assert_eq!((grid.height(), grid.width()), (20 + 134 + 31, 30 + 2 * 134));
        assert_eq!(pixel(&grid, 10, 10), INK);
        assert_eq!(pixel(&grid, 12, 143), INK);
        assert_eq!(pixel(&grid, 13, 13), [77; 3]);
        assert_eq!(pixel(&grid, 140, 140), [77; 3]);
        assert_eq!(pixel(&grid, 154, 10), [1, 2, 3]);
        let line: Vec<String> = (0..9)
            .map(|y| {
                let ink = |x: usize| pixel(&grid, 10 + x, 145 + y) == INK;
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
        let captions = [caption("long caption", INK)];
        let narrow = image(300, 1, 1, 0);
        let grid = grid(1, [300, 1], 0).draw(&[&narrow], &captions).unwrap();
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
}
