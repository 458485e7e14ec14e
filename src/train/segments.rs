//! A step whose graph is cut between the groups of a model, so that gradients come out group by group, from
//! the head to the stem, and can be summed over ranks while the others are still computed.

use std::collections::HashSet;
use std::ops::Range;

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};

use super::cache::inputs::ModelInput;
use super::gradients::{accumulate, take};
use super::pipeline::{backward, detached, gradient_of, leaf, scores, trainable};
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::model::{Classifier, Features, GroupOutput};

/// Takes gradients on their way to their sums, and the parameters of which they are all.
pub(super) type HandOver<'a> = &'a mut dyn FnMut(HashSet<ParamId>, GradientsParams) -> Result<()>;

/// A forward pass that was cut.
pub(super) struct Segments<'a> {
    model: &'a Classifier,
    /// What trains begins here.
    parts: Vec<Part>,
    /// Of the whole batch, a leaf.
    scores: Tensor<2>,
}

/// A group on its way back.
struct Part {
    /// Its parameters that train.
    ids: HashSet<ParamId>,
    input: Features,
    output: Features,
    /// Whether something before it trains.
    needs_input: bool,
}

/// The groups of each part of a step, from one group on, and the parameters of it that train. The head is
/// one with the group before it, whose output it pools; below the first that trains nothing flows back.
fn parts(model: &Classifier, first: usize) -> Vec<(Range<usize>, HashSet<ParamId>)> {
    let count = model.all_groups().len();
    let last = first.max(count.saturating_sub(2));
    let ranges = (first..last).map(|group| group..group + 1);
    let ranges: Vec<Range<usize>> = ranges.chain(std::iter::once(last..count)).collect();
    let ids = trainable(model, &ranges);
    let mut parts: Vec<_> = ranges.into_iter().zip(ids).collect();
    let idle = parts.iter().take_while(|(_, ids)| ids.is_empty()).count();
    parts.drain(..idle.min(parts.len() - 1));
    parts
}

/// The parameters that train in each part of a step, in the order in which their gradients come.
pub(super) fn ids(model: &Classifier, first: usize) -> Vec<HashSet<ParamId>> {
    let parts = parts(model, first).into_iter().rev();
    parts.map(|(_, ids)| ids).collect()
}

impl<'a> Segments<'a> {
    /// Runs what is left of a model.
    pub fn forward(model: &'a Classifier, input: ModelInput, recipe: &Recipe) -> Result<Self> {
        let first = input.groups();
        let x = match input.onto_graph(recipe) {
            GroupOutput::Features(x) => x,
            // What goes into the head is no output of a group.
            vector @ GroupOutput::Vector(_) => {
                let output = model.forward_from(first, vector)?;
                let [batch, classes] = output.dims();
                let output = Features::Map(output.reshape([batch, classes, 1, 1]));
                let parts = ids(model, first).into_iter().map(|ids| Part {
                    ids,
                    input: detached(&output),
                    output: output.clone(),
                    needs_input: false,
                });
                return Ok(Self::of(model, output.clone(), parts.collect()));
            }
        };
        let ranges = parts(model, first);
        let mut x = match ranges.first() {
            Some((range, _)) if range.start > first => model.forward_part(first..range.start, x)?,
            _ => x,
        };
        let mut parts = Vec::with_capacity(ranges.len());
        for (index, (groups, ids)) in ranges.into_iter().enumerate() {
            let needs_input = index > 0;
            let input = if needs_input { leaf(detached(&x)) } else { x };
            let output = model.forward_part(groups, input.clone())?;
            x = output.clone();
            parts.push(Part {
                ids,
                input,
                output,
                needs_input,
            });
        }
        Ok(Self::of(model, x, parts))
    }

    fn of(model: &'a Classifier, output: Features, parts: Vec<Part>) -> Self {
        let scores = scores(output).detach().require_grad();
        Self {
            model,
            parts,
            scores,
        }
    }

    /// The scores, on whose gradient [`backward`](Self::backward) goes on.
    pub fn scores(&self) -> Tensor<2> {
        self.scores.clone()
    }

    /// Hands over the gradients of each group from the last to the first.
    pub fn backward(self, mut of_scores: Gradients, hand_over: HandOver<'_>) -> Result<()> {
        let missing = || Error::argument("loss", "one that depends on the scores", "another");
        let gradient = self
            .scores
            .grad_remove(&mut of_scores)
            .ok_or_else(missing)?;
        let [batch, classes] = gradient.dims();
        let mut carried = GradientsParams::new();
        let mut gradient = Features::Map(gradient.reshape([batch, classes, 1, 1]));
        for part in self.parts.into_iter().rev() {
            let mut gradients = backward(part.output, gradient)?;
            gradient = if part.needs_input {
                gradient_of(&part.input, &mut gradients).ok_or_else(missing)?
            } else {
                part.input
            };
            // A group may use a parameter of one before it, as a token that a stem brings.
            accumulate(
                self.model,
                &mut carried,
                GradientsParams::from_grads(gradients, self.model),
            );
            let own = take(self.model, &mut carried, &part.ids);
            hand_over(part.ids, own)?;
        }
        Ok(())
    }
}
