//! Square windows that move over a feature map.

use super::feature_map::MapShape;

/// A square window that moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Whether a convolution multiplies each tap, and never takes Winograd's way, which rounds more.
    pub is_direct: bool,
}

/// The largest stride beyond the end of a map: maps are copied as if they were as wide as it.
const LARGEST_STRIDE_BEYOND_MAP: usize = 64;

impl Window {
    /// Whether there is a window at all along a side of a map, and positions can be signed numbers.
    pub fn fits(&self, side: usize) -> bool {
        let padded = self
            .padding
            .checked_mul(2)
            .and_then(|both| both.checked_add(side));
        padded.is_some_and(|padded| {
            padded <= isize::MAX as usize
                && (1..=padded).contains(&self.kernel)
                && (1..=padded.max(LARGEST_STRIDE_BEYOND_MAP)).contains(&self.stride)
        })
    }

    /// The number of windows along a side that they [fit](Self::fits).
    pub fn output(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Where tap `tap` of the first window lies, relative to the map's edge.
    pub fn offset(&self, tap: usize) -> isize {
        tap as isize - self.padding as isize
    }

    /// The windows, from and to, whose tap `tap` lies inside of a side of `side`.
    pub fn inside(&self, tap: usize, side: usize) -> (usize, usize) {
        let (offset, stride) = (self.offset(tap), self.stride as isize);
        let from = (-offset).div_euclid(stride) + isize::from((-offset).rem_euclid(stride) > 0);
        let to = (side as isize - 1 - offset).div_euclid(stride) + 1;
        let windows = self.output(side);
        let to = to.clamp(0, windows as isize) as usize;
        ((from.max(0) as usize).min(to), to)
    }

    /// The row or column that a window's tap lies on.
    pub fn place(&self, window: usize, tap: usize) -> isize {
        (window * self.stride) as isize + self.offset(tap)
    }

    /// The window whose tap `tap` lies on this row or column, if there is one among so many.
    pub fn of(&self, place: usize, tap: usize, windows: usize) -> Option<usize> {
        let above = usize::try_from(place as isize - self.offset(tap)).ok()?;
        let window = above / self.stride;
        (above.is_multiple_of(self.stride) && window < windows).then_some(window)
    }

    pub fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Products of each pair of channels over a map, without those with padding.
    pub fn products(&self, input: MapShape) -> usize {
        let inside = |side: usize| -> usize {
            let taps = (0..self.kernel).map(|tap| self.inside(tap, side));
            taps.map(|(from, to)| to - from).sum()
        };
        inside(input.height) * inside(input.width) * input.batch
    }

    /// The taps of a window that lie inside of a map: their number, and where the position begins.
    #[inline(always)]
    pub fn taps_at(
        self,
        (y, x): (usize, usize),
        input: MapShape,
    ) -> impl Iterator<Item = (usize, usize)> {
        (0..self.taps()).filter_map(move |tap| {
            let row = usize::try_from(self.place(y, tap / self.kernel)).ok()?;
            let column = usize::try_from(self.place(x, tap % self.kernel)).ok()?;
            let inside = row < input.height && column < input.width;
            inside.then_some((tap, row * input.row() + column * input.position()))
        })
    }
}

/// A tap that lies inside of the map for some windows of a row.
pub struct Tap {
    /// Its number.
    pub tap: usize,
    /// The row of the input it lies on.
    pub y: usize,
    /// Its column in the first window.
    pub offset: isize,
    /// The windows, from and to, for which it lies inside.
    pub from: usize,
    pub to: usize,
}

/// The taps of the windows of one row of the output, first those that all windows have.
pub fn taps_of_row(window: &Window, y: usize, input: MapShape, width: usize) -> Vec<Tap> {
    let mut taps = Vec::with_capacity(window.taps());
    for ky in 0..window.kernel {
        let place = window.place(y, ky);
        if place < 0 || place >= input.height as isize {
            continue;
        }
        for kx in 0..window.kernel {
            let (from, to) = window.inside(kx, input.width);
            if from < to {
                taps.push(Tap {
                    tap: ky * window.kernel + kx,
                    y: place as usize,
                    offset: window.offset(kx),
                    from,
                    to,
                });
            }
        }
    }
    taps.sort_by_key(|tap| tap.to - tap.from != width);
    taps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_no_window_are_none() {
        let window = Window {
            kernel: 1,
            stride: 2,
            padding: 0,
            is_direct: false,
        };
        assert_eq!(window.of(0, 0, 3), Some(0));
        assert_eq!(window.of(1, 0, 3), None);
        assert_eq!(window.of(6, 0, 3), None);
    }

    #[test]
    fn windows_fit_where_there_is_room_for_one() {
        let window = |kernel, stride, padding| Window {
            kernel,
            stride,
            padding,
            is_direct: false,
        };
        assert!(window(3, 1, 1).fits(1));
        assert!(!window(3, 1, 0).fits(2));
        assert!(!window(1, 0, 0).fits(2));
        assert!(!window(0, 1, 0).fits(2));
        assert!(!window(1, 1, usize::MAX).fits(2));
        assert!(!window(1, 1, 1).fits(isize::MAX as usize));
        assert!(window(1, 64, 0).fits(1));
        assert!(!window(1, usize::MAX, 0).fits(1));
    }
}
