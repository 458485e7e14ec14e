//! Every combination of values.

use crate::error::{Error, Result};
use crate::tune::space::{Params, Space};

/// More would not end.
const MOST: usize = 100_000;

/// All combinations, each once.
pub(super) fn combinations(space: &Space, points: Option<usize>) -> Result<Vec<Params>> {
    let mut all = vec![Params::new()];
    for (name, parameter) in space.iter() {
        let distribution = &parameter.distribution;
        let Some(values) = distribution.grid(points) else {
            let expected = "a choice, a randint or a quniform of few values for a grid, or with grid:points=N a \
                            uniform or a loguniform";
            return Err(Error::argument(name, expected, distribution));
        };
        let count = all.len().saturating_mul(values.len());
        if count > MOST {
            let expected = format!("a grid of at most {MOST} combinations");
            return Err(Error::argument(
                "sampler",
                expected,
                format!("{count} and more"),
            ));
        }
        let with = |params: &Params| {
            let params = params.clone();
            values
                .iter()
                .map(move |value| {
                    let mut params = params.clone();
                    params.insert(name.to_owned(), value.clone());
                    params
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    // Without the parameters that do not exist some are the same.
    let mut seen = std::collections::BTreeSet::new();
    let active = all.into_iter().map(|params| space.active(params));
    let key = |params: &Params| format!("{params:?}");
    Ok(active.filter(|params| seen.insert(key(params))).collect())
}
