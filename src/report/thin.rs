//! Lines of thousands of points, cut down to what a screen can show.

/// A point of a chart, in pixels.
pub(super) type Point = (f64, f64);

/// The stretches of a line between its gaps: places where it has no finite value.
pub(super) fn stretches(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let mut stretches: Vec<Vec<Point>> = vec![Vec::new()];
    for point in points {
        match (point, stretches.last_mut()) {
            (Some(point), Some(stretch)) => stretch.push(point),
            _ => stretches.push(Vec::new()),
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}

/// A line that looks the same with fewer points.
///
/// Of each column of pixels the first, the lowest, the highest and the last point stay, which
/// draws the same pixels as all of them (Jugel et al., 2014,
/// <https://doi.org/10.14778/2732951.2732953>). Of those, points within a tenth of a pixel of the
/// line through their neighbours are left out (Douglas & Peucker, 1973).
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let lowest = extreme(column, |a, b| a < b);
        let highest = extreme(column, |a, b| a > b);
        let mut indices = [
            0,
            lowest.min(highest),
            lowest.max(highest),
            column.len() - 1,
        ]
        .to_vec();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| column[index]));
    }
    simplified(&kept, 0.1)
}

fn extreme(points: &[Point], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (index, point) in points.iter().enumerate() {
        if better(point.1, points[best].1) {
            best = index;
        }
    }
    best
}

fn simplified(points: &[Point], tolerance: f64) -> Vec<Point> {
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
    let share = match length > 0.0 {
        true => ((offset.0 * along.0 + offset.1 * along.1) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (offset.0 - share * along.0).hypot(offset.1 - share * along.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_survive_and_straight_lines_shrink() {
        let straight: Vec<Point> = (0..10_000).map(|i| (i as f64 * 0.05, 3.0)).collect();
        assert_eq!(thinned(&straight), [(0.0, 3.0), (straight[9999].0, 3.0)]);

        let mut noise: Vec<Point> = straight.clone();
        for (index, point) in noise.iter_mut().enumerate() {
            point.1 = (index * 7919 % 101) as f64;
        }
        noise[4321].1 = 500.0;
        noise[1234].1 = -500.0;
        let thin = thinned(&noise);
        assert!(thin.len() <= 4 * 501, "{}", thin.len());
        assert!(thin.contains(&noise[4321]) && thin.contains(&noise[1234]));
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert_eq!((thin[0], thin[thin.len() - 1]), (noise[0], noise[9999]));
    }

    #[test]
    fn few_points_are_left_alone() {
        let points = [(0.0, 0.0), (10.0, 5.0), (20.0, -5.0)];
        assert_eq!(thinned(&points), points);
        assert_eq!(thinned(&points[..1]), points[..1]);
        assert_eq!(thinned(&[]), []);
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
