//! Lines of thousands of points, cut down to what a screen can show.

/// A point of a chart, in pixels.
pub(super) type Point = (f64, f64);

/// The stretches of a line between its gaps: places where it has no finite value.
pub(super) fn stretches(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let points: Vec<Option<Point>> = points.collect();
    let stretches = points.split(Option::is_none);
    let stretches = stretches.filter(|stretch| !stretch.is_empty());
    stretches
        .map(|stretch| stretch.iter().flatten().copied().collect())
        .collect()
}

/// A line that looks the same with fewer points.
///
/// Of each column of pixels the first, the lowest, the highest and the last point stay, which
/// draws the same pixels as all of them (Jugel et al., 2014,
/// <https://doi.org/10.14778/2732951.2732953>). Of those, points within a tenth of a pixel of the
/// line through their neighbours are left out (Douglas & Peucker, 1973).
pub(super) fn simplified(points: &[Point]) -> Vec<Point> {
    let mut extremes: Vec<Point> = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..column.len()).rev().max_by(by_height).unwrap_or(0);
        let mut indices = vec![0, lowest, highest, column.len() - 1];
        indices.sort_unstable();
        indices.dedup();
        extremes.extend(indices.into_iter().map(|index| column[index]));
    }
    without_straight(&extremes, 0.1)
}

fn without_straight(points: &[Point], tolerance: f64) -> Vec<Point> {
    let Some(last) = points.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut stays = vec![false; points.len()];
    stays[0] = true;
    stays[last] = true;
    let mut pieces = vec![(0, last)];
    while let Some((from, to)) = pieces.pop() {
        let distances = (from + 1..to).map(|i| (i, distance(points[i], points[from], points[to])));
        let farthest = distances.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, _)) = farthest.filter(|(_, distance)| *distance > tolerance) {
            stays[index] = true;
            pieces.extend([(from, index), (index, to)]);
        }
    }
    let pairs = points.iter().zip(stays);
    pairs.filter(|(_, stays)| *stays).map(|(p, _)| *p).collect()
}

/// From a point to the line between two others.
fn distance(point: Point, from: Point, to: Point) -> f64 {
    let along = (to.0 - from.0, to.1 - from.1);
    let offset = (point.0 - from.0, point.1 - from.1);
    let length = along.0 * along.0 + along.1 * along.1;
    let share = (offset.0 * along.0 + offset.1 * along.1) / length;
    // The ends can be the same point.
    let share = if length > 0.0 {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    (offset.0 - share * along.0).hypot(offset.1 - share * along.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_survive_and_straight_lines_shrink() {
        let straight: Vec<Point> = (0..10_000).map(|i| (i as f64 * 0.05, 3.0)).collect();
        assert_eq!(simplified(&straight), [(0.0, 3.0), (straight[9999].0, 3.0)]);

        let mut noise: Vec<Point> = straight.clone();
        for (index, point) in noise.iter_mut().enumerate() {
            point.1 = (index * 7919 % 101) as f64;
        }
        noise[4321].1 = 500.0;
        noise[1234].1 = -500.0;
        let simple = simplified(&noise);
        assert!(simple.len() <= 4 * 501, "{}", simple.len());
        assert!(simple.contains(&noise[4321]) && simple.contains(&noise[1234]));
        assert!(simple.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert_eq!(
            (simple[0], simple[simple.len() - 1]),
            (noise[0], noise[9999])
        );
    }

    #[test]
    fn few_points_are_left_alone() {
        let points = [(0.0, 0.0), (10.0, 5.0), (20.0, -5.0)];
        assert_eq!(simplified(&points), points);
        assert_eq!(simplified(&points[..1]), points[..1]);
        assert_eq!(simplified(&[]), []);
    }

    #[test]
    fn gaps_part_a_line() {
        let points = [
            None,
            Some((1.0, 1.0)),
            None,
            None,
            Some((2.0, 1.0)),
            Some((3.0, 1.0)),
        ];
        let found = stretches(points.into_iter());
        assert_eq!(found, [vec![(1.0, 1.0)], vec![(2.0, 1.0), (3.0, 1.0)]]);
    }
}
