//! The transforms of Lavin and Gray, along one axis, for many channels at a time.

/// Neighbouring channels that are computed together.
pub const LANES: usize = 16;

/// One number for each of those channels.
#[derive(Clone, Copy)]
pub struct Lanes([f32; LANES]);

impl Lanes {
    pub const ZERO: Self = Self([0.0; LANES]);

    /// # Safety
    /// So many numbers may be read.
    #[inline(always)]
    pub unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above; an array of numbers needs no other alignment than a number.
        Self(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    /// # Safety
    /// So many numbers may be written.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    pub fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for i in 0..LANES {
            out.0[i] = f(self.0[i], other.0[i]);
        }
        out
    }

    #[inline(always)]
    pub fn times(self, factor: f32) -> Self {
        let mut out = self;
        for i in 0..LANES {
            out.0[i] *= factor;
        }
        out
    }

    /// `self + factor * other`
    #[inline(always)]
    pub fn plus(self, factor: f32, other: Self) -> Self {
        self.zip(other, |a, b| a + b * factor)
    }
}

impl std::ops::Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

/// `F(M x M, 3 x 3)` along one axis; tiles have `T = M + 2` places.
pub trait Filter<const M: usize, const T: usize> {
    fn input(d: [Lanes; T]) -> [Lanes; T];
    fn kernel(g: [Lanes; 3]) -> [Lanes; T];
    fn output(m: [Lanes; T]) -> [Lanes; M];
    /// `output` the other way round: its transposed matrix.
    fn output_back(g: [Lanes; M]) -> [Lanes; T];
    /// `kernel` the other way round: its transposed matrix.
    fn kernel_back(m: [Lanes; T]) -> [Lanes; 3];
}

pub struct Two;

impl Filter<2, 4> for Two {
    #[inline(always)]
    fn input([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
        [a - c, b + c, c - b, b - d]
    }

    #[inline(always)]
    fn kernel([a, b, c]: [Lanes; 3]) -> [Lanes; 4] {
        let sum = a + c;
        [a, (sum + b).times(0.5), (sum - b).times(0.5), c]
    }

    #[inline(always)]
    fn output([a, b, c, d]: [Lanes; 4]) -> [Lanes; 2] {
        [a + b + c, b - c - d]
    }

    #[inline(always)]
    fn output_back([a, b]: [Lanes; 2]) -> [Lanes; 4] {
        [a, a + b, a - b, Lanes::ZERO - b]
    }

    #[inline(always)]
    fn kernel_back([a, b, c, d]: [Lanes; 4]) -> [Lanes; 3] {
        let half = (b + c).times(0.5);
        [a + half, (b - c).times(0.5), half + d]
    }
}

pub struct Four;

impl Filter<4, 6> for Four {
    #[inline(always)]
    fn input([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 6] {
        let (even, odd) = (e.plus(-4.0, c), d.plus(-4.0, b));
        let (even2, odd2) = (e - c, (d - b).times(2.0));
        [
            a.times(4.0).plus(-5.0, c) + e,
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
            b.times(4.0).plus(-5.0, d) + f,
        ]
    }

    #[inline(always)]
    fn kernel([a, b, c]: [Lanes; 3]) -> [Lanes; 6] {
        let sum = (a + c).times(-1.0 / 6.0);
        let middle = b.times(1.0 / 6.0);
        let outer = a.times(1.0 / 24.0).plus(1.0 / 6.0, c);
        let twelfth = b.times(1.0 / 12.0);
        [
            a.times(0.25),
            sum - middle,
            sum + middle,
            outer + twelfth,
            outer - twelfth,
            c,
        ]
    }

    #[inline(always)]
    fn output([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 4] {
        let (sum, difference) = (b + c, b - c);
        let (sum2, difference2) = (d + e, d - e);
        [
            a + sum + sum2,
            difference.plus(2.0, difference2),
            sum.plus(4.0, sum2),
            difference.plus(8.0, difference2) + f,
        ]
    }

    #[inline(always)]
    fn output_back([a, b, c, d]: [Lanes; 4]) -> [Lanes; 6] {
        let (even, odd) = (a + c, b + d);
        let (even2, odd2) = (a.plus(4.0, c), b.times(2.0).plus(8.0, d));
        [a, even + odd, even - odd, even2 + odd2, even2 - odd2, d]
    }

    #[inline(always)]
    fn kernel_back([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 3] {
        let (sum, difference) = ((b + c).times(-1.0 / 6.0), (c - b).times(1.0 / 6.0));
        let (sum2, difference2) = (d + e, d - e);
        [
            a.times(0.25).plus(1.0 / 24.0, sum2) + sum,
            difference.plus(1.0 / 12.0, difference2),
            sum.plus(1.0 / 6.0, sum2) + f,
        ]
    }
}
