//! The modules of an HRNet that take several maps.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::model::MapLayer;
use crate::nn::{Act, ConvLayer, ConvNorm, Epilogue, upsample_nearest2d};
use crate::zoo::residual::Block;

/// Blocks of each map, and what the maps give to each other.
#[derive(Module, Debug)]
pub(super) struct Exchange {
    pub branches: Vec<Vec<Block>>,
    /// For each map, the ways to it from each map; none from itself, and none at all where there is
    /// one map.
    pub fuse: Vec<Vec<Vec<ConvLayer>>>,
    pub transition: Option<Transition>,
}

impl Exchange {
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> Result<Vec<Tensor<4>>> {
        check_count(&maps, self.branches.len())?;
        let branches = self.branches.iter().zip(maps);
        let mut maps: Vec<_> = branches.map(|(blocks, map)| blocks.forward(map)).collect();
        if !self.fuse.is_empty() {
            let ways = self.fuse.iter().enumerate();
            maps = ways.map(|(to, ways)| gather(to, ways, &maps)).collect();
        }
        if let Some(transition) = &self.transition {
            transition.apply(&mut maps);
        }
        Ok(maps)
    }
}

/// The sum of a map and of what comes to it from the others.
fn gather(to: usize, ways: &[Vec<ConvLayer>], maps: &[Tensor<4>]) -> Tensor<4> {
    let mut sum = maps[to].clone();
    for (from, (way, map)) in ways.iter().zip(maps).enumerate() {
        let Some((last, before)) = way.split_last() else {
            continue;
        };
        let x = before.iter().fold(map.clone(), |x, conv| conv.forward(x));
        sum = if from > to {
            sum + upsample_nearest2d(last.forward(x), 1 << (from - to))
        } else {
            last.conv.forward_with(x, Epilogue::adding(&sum))
        };
    }
    Act::Relu.forward(sum)
}

/// A coarser map of the coarsest one.
#[derive(Module, Debug)]
pub(super) struct Transition {
    /// What becomes of the one map that there is behind the first stage.
    pub conv_same: Option<ConvNorm>,
    pub conv_new: ConvNorm,
}

impl Transition {
    fn apply(&self, maps: &mut Vec<Tensor<4>>) {
        let new = maps.last().map(|last| self.conv_new.forward(last.clone()));
        if let (Some(conv), Some(first)) = (&self.conv_same, maps.first_mut()) {
            *first = conv.forward(first.clone());
        }
        maps.extend(new);
    }
}

/// Widens each map, and makes one of them from the finest on.
#[derive(Module, Debug)]
pub(super) struct PreLogits {
    pub increase: Vec<Block>,
    pub down: Vec<ConvLayer>,
    pub conv: ConvNorm,
}

impl PreLogits {
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> Result<Tensor<4>> {
        check_count(&maps, self.increase.len())?;
        let mut maps = self
            .increase
            .iter()
            .zip(maps)
            .map(|(block, map)| block.forward(map));
        let Some(finest) = maps.next() else {
            return Err(Error::argument("features", "feature maps", "none"));
        };
        let rest = maps.zip(&self.down);
        let sum = rest.fold(finest, |sum, (map, down)| map + down.forward(sum));
        Ok(self.conv.forward(sum))
    }
}

fn check_count(maps: &[Tensor<4>], expected: usize) -> Result<()> {
    if maps.len() == expected {
        return Ok(());
    }
    let expected = format!("{expected} feature maps");
    Err(Error::argument("features", expected, maps.len()))
}
