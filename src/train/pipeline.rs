//! A batch in several parts through a model that is cut over devices, so that none waits for the whole
//! batch: GPipe's schedule (Huang et al., 2019, <https://arxiv.org/abs/1811.06965>).
//!
//! Each part of the model has a thread. All parts of the batch go forward, then all go back; what a part
//! of the model does, it does in their order, so that a run repeats to the bit. Where one device ends
//! and the next begins the graph is cut, and the gradient is handed back.

use std::collections::HashSet;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};

use super::gradients::accumulate;
use super::out_of_memory::catch_out_of_memory;
use super::setup::Setup;
use crate::error::{Error, Result};
use crate::model::{Classifier, Features, GroupOutput, params};
use crate::nn::noise;

/// A batch that is to go through the parts of a model.
pub(super) struct Pipeline<'a> {
    pub setup: &'a Setup,
    pub model: &'a Classifier,
    /// The groups of each part that is left.
    pub parts: Vec<Range<usize>>,
    /// The name of the random numbers of the batch.
    pub stream: &'a str,
}

impl Pipeline<'_> {
    /// The gradients of a loss of the scores, and what `loss` gives beside the scores' gradient.
    ///
    /// `loss` is shown the scores of the whole batch as a leaf of a graph, so that it is the loss of a batch that
    /// was not cut.
    pub fn run<T>(
        &self,
        input: GroupOutput,
        loss: impl FnOnce(Tensor<2>) -> Result<(T, Gradients)>,
    ) -> Result<(T, GradientsParams)> {
        let GroupOutput::Features(features) = input else {
            return Err(Error::argument("features", "maps or tokens", "a vector"));
        };
        let inputs = cut(features, self.setup.micro_batches, self.setup.min_batch);
        let count = inputs.len();
        let stages = self.parts.len();
        let ids = trainable(self.model, &self.parts);
        let trains: Vec<bool> = ids.iter().map(|ids| !ids.is_empty()).collect();
        std::thread::scope(|scope| {
            let (to_first, mut from_before) = channel();
            // Gradients of what goes into each part, and of the scores; nobody asks for those of images.
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..=stages).map(|_| channel()).unzip();
            let mut threads = Vec::new();
            let gradients = receivers.into_iter().skip(1);
            for ((index, part), gradients) in self.parts.iter().enumerate().zip(gradients) {
                let (to_next, from_this) = channel();
                let stage = Stage {
                    pipeline: self,
                    index,
                    part: part.clone(),
                    count,
                    trains: trains[index],
                    needs_input: index > 0 && trains[..index].contains(&true),
                    inputs: std::mem::replace(&mut from_before, from_this),
                    outputs: to_next,
                    gradients,
                    input_gradients: senders[index].clone(),
                };
                threads.push(scope.spawn(move || stage.run()));
            }
            for input in inputs {
                // A stage that has ended says why when it is joined.
                let _ = to_first.send(input);
            }
            drop(to_first);
            let scores: Vec<Tensor<2>> = from_before.iter().map(scores).collect();
            let result = if scores.len() == count {
                let sizes: Vec<usize> = scores.iter().map(|scores| scores.dims()[0]).collect();
                let scores = Tensor::cat(scores, 0).detach().require_grad();
                loss(scores.clone()).map(|(value, mut gradients)| {
                    if let Some(gradient) = scores.grad_remove(&mut gradients) {
                        send_parts(&gradient, &sizes, &senders[stages]);
                    }
                    Some(value)
                })
            } else {
                Ok(None)
            };
            // No gradient comes after this: a stage that waits for one ends.
            drop(senders);
            let mut sum = GradientsParams::new();
            let mut failed = None;
            for thread in threads {
                match thread.join() {
                    Ok(Ok(Some(gradients))) => accumulate(self.model, &mut sum, gradients),
                    // Another part has ended, and says why.
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        failed.get_or_insert(error);
                    }
                    Err(panic) => resume_unwind(panic),
                }
            }
            match (result?, failed) {
                (Some(value), None) => Ok((value, sum)),
                (_, Some(error)) => Err(error),
                (None, None) => Err(ended()),
            }
        })
    }
}

/// The parameters that train in each of these ranges of groups.
pub(super) fn trainable(model: &Classifier, parts: &[Range<usize>]) -> Vec<HashSet<ParamId>> {
    let groups = model.all_groups();
    let trainable = params::trainable_ids(model);
    let mut ids = vec![HashSet::new(); parts.len()];
    for param in params::list(model) {
        let group = groups
            .iter()
            .position(|g| param.path.starts_with(&g.prefix));
        let part = group.and_then(|group| parts.iter().position(|part| part.contains(&group)));
        if let Some(part) = part
            && trainable.contains(&param.id)
        {
            ids[part].insert(param.id);
        }
    }
    ids
}

/// A part of the model with its thread.
struct Stage<'a> {
    pipeline: &'a Pipeline<'a>,
    index: usize,
    part: Range<usize>,
    /// Parts of the batch.
    count: usize,
    trains: bool,
    /// Whether something before it trains.
    needs_input: bool,
    inputs: Receiver<Features>,
    outputs: Sender<Features>,
    gradients: Receiver<Features>,
    input_gradients: Sender<Features>,
}

impl Stage<'_> {
    /// `None` if another part has ended.
    fn run(self) -> Result<Option<GradientsParams>> {
        let setup = self.pipeline.setup;
        catch_out_of_memory(&setup.recipe, setup.min_batch, || self.forward_and_back())
    }

    fn forward_and_back(self) -> Result<Option<GradientsParams>> {
        let Pipeline {
            setup,
            model,
            stream,
            ..
        } = *self.pipeline;
        let mut kept = Vec::with_capacity(self.count);
        for (number, input) in self.inputs.iter().enumerate() {
            let input = model.at_group(self.part.start, input);
            let input = if self.needs_input { leaf(input) } else { input };
            let stream = format!("{stream} part {} {number}", self.index);
            let output = noise::with(setup.recipe.seed, &stream, || {
                model.forward_part(self.part.clone(), input.clone())
            })?;
            if self.outputs.send(detached(&output)).is_err() {
                return Ok(None);
            }
            kept.push((input, output));
        }
        drop(self.outputs);
        let mut sum = GradientsParams::new();
        if !(self.trains || self.needs_input) {
            return Ok(Some(sum));
        }
        if kept.len() < self.count {
            return Ok(None);
        }
        for (input, output) in kept {
            let Ok(gradient) = self.gradients.recv() else {
                return Ok(None);
            };
            let mut gradients = backward(output, gradient)?;
            if self.needs_input {
                let gradient = gradient_of(&input, &mut gradients).ok_or_else(ended)?;
                // The part before has ended, and says why.
                let _ = self.input_gradients.send(gradient);
            }
            let own = GradientsParams::from_grads(gradients, model);
            accumulate(model, &mut sum, own);
        }
        Ok(Some(sum))
    }
}

fn ended() -> Error {
    Error::Device {
        device: "of the model's parts".to_owned(),
        reason: "another part has ended".to_owned(),
    }
}

/// Does the same to each tensor.
fn each(
    features: Features,
    map4: impl Fn(Tensor<4>) -> Tensor<4>,
    map3: impl Fn(Tensor<3>) -> Tensor<3>,
) -> Features {
    match features {
        Features::Map(map) => Features::Map(map4(map)),
        Features::Tokens(tokens) => Features::Tokens(map3(tokens)),
        Features::Maps(maps) => Features::Maps(maps.into_iter().map(map4).collect()),
    }
}

/// The images of a batch in so many parts, of which the last may be smaller, but none has fewer than
/// `least`.
fn cut(features: Features, parts: usize, least: usize) -> Vec<Features> {
    let batch = features.dims()[0];
    let size = batch.div_ceil(parts.max(1)).max(least);
    let mut starts: Vec<usize> = (0..batch).step_by(size).collect();
    if starts.len() > 1 && batch - starts[starts.len() - 1] < least {
        starts.pop();
    }
    let ends = starts.iter().skip(1).copied().chain([batch]);
    starts
        .iter()
        .zip(ends)
        .map(|(first, end)| {
            each(
                features.clone(),
                |map| map.narrow(0, *first, end - first),
                |tokens| tokens.narrow(0, *first, end - first),
            )
        })
        .collect()
}

pub(super) fn leaf(features: Features) -> Features {
    each(
        features,
        |map| map.detach().require_grad(),
        |tokens| tokens.detach().require_grad(),
    )
}

pub(super) fn detached(features: &Features) -> Features {
    each(features.clone(), Tensor::detach, Tensor::detach)
}

pub(super) fn scores(features: Features) -> Tensor<2> {
    match features {
        Features::Map(map) => {
            let [batch, classes, ..] = map.dims();
            map.detach().reshape([batch, classes])
        }
        // A last part gives a map.
        Features::Tokens(tokens) => tokens.detach().flatten(1, 2),
        Features::Maps(maps) => Tensor::cat(
            maps.into_iter().map(|m| m.detach().flatten(1, 3)).collect(),
            1,
        ),
    }
}

fn send_parts(gradient: &Tensor<2>, sizes: &[usize], to: &Sender<Features>) {
    let mut first = 0;
    for size in sizes {
        let part = gradient.clone().narrow(0, first, *size);
        let [batch, classes] = part.dims();
        first += size;
        // A part that has ended says why when it is joined.
        let _ = to.send(Features::Map(part.reshape([batch, classes, 1, 1])));
    }
}

/// The gradients of a scalar whose gradient with respect to the output is the one given.
pub(super) fn backward(output: Features, gradient: Features) -> Result<Gradients> {
    fn product<const D: usize>(output: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
        let device = output.device().without_autodiff();
        // What is no part of a graph is a constant, whatever the graph keeps of its activations.
        (output * gradient.without_autodiff().to_device(&device)).sum()
    }
    let sum = match (output, gradient) {
        (Features::Map(output), Features::Map(gradient)) => product(output, gradient),
        (Features::Tokens(output), Features::Tokens(gradient)) => product(output, gradient),
        (Features::Maps(outputs), Features::Maps(gradients)) => {
            let products = outputs
                .into_iter()
                .zip(gradients)
                .map(|(o, g)| product(o, g));
            products
                .reduce(|a, b| a + b)
                .unwrap_or_else(|| Tensor::zeros([1], &Default::default()))
        }
        (output, gradient) => {
            let expected = format!("the form of the output, {:?}", output.dims());
            return Err(Error::argument(
                "gradient",
                expected,
                format!("{:?}", gradient.dims()),
            ));
        }
    };
    Ok(sum.backward())
}

pub(super) fn gradient_of(input: &Features, gradients: &mut Gradients) -> Option<Features> {
    Some(match input {
        Features::Map(map) => Features::Map(map.grad_remove(gradients)?),
        Features::Tokens(tokens) => Features::Tokens(tokens.grad_remove(gradients)?),
        Features::Maps(maps) => {
            let of_each = maps.iter().map(|map| map.grad_remove(gradients));
            Features::Maps(of_each.collect::<Option<_>>()?)
        }
    })
}
