//! What a network computes, as burn's operations in their order, and which dimensions follow the input's.

use std::collections::{BTreeMap, HashMap};

use burn::backend::Shape;
use burn::backend::capture::{CaptureBackend, CapturedGraph, TensorId};
use burn::backend::ir::{
    BaseOperationIr, IrVisitorMut, OperationIr, SliceOpIr, TensorIr, TensorStatus,
};
use burn::module::Module as _;
use burn::tensor::{Device, Slice, Tensor, TensorData};

use super::impossible;
use crate::error::Result;
use crate::model::Classifier;
use crate::panics;

/// Images of the first run, and of the second: numbers that no network has for a side by accident. burn leaves
/// a reshape out that changes nothing, and so a network of three channels is another one with three images.
const IMAGES: [usize; 2] = [17, 19];

/// What a network computes, operation by operation.
pub struct Recording {
    /// The operations of the first run. None of them makes a tensor out of values that were at hand.
    pub operations: Vec<OperationIr>,
    /// Values that were at hand: parameters, running statistics, tables.
    pub values: BTreeMap<TensorId, TensorData>,
    /// The images.
    pub input: TensorId,
    /// The scores.
    pub output: TensorId,
    sides: HashMap<TensorId, Vec<Side>>,
    /// The ranges of each slice in each run, by its output.
    ranges: HashMap<TensorId, Vec<Vec<Slice>>>,
}

/// The length of a dimension in each run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side(Vec<usize>);

impl Side {
    /// The length, if it is the same in all runs.
    pub fn fixed(&self) -> Option<usize> {
        let first = self.0[0];
        self.0.iter().all(|side| *side == first).then_some(first)
    }

    /// How many there are for each image, if that is the same in all runs.
    pub fn per_image(&self) -> Option<usize> {
        let times = self.0[0] / IMAGES[0];
        let is_multiple = self.0.iter().enumerate().all(|(run, side)| {
            // The second run alone has another number.
            *side == times * IMAGES[usize::from(run == 1)]
        });
        (is_multiple && times > 0).then_some(times)
    }

    /// A length of 1, in as many runs as these.
    pub fn of_one(like: &[Self]) -> Self {
        Self(vec![1; like.first().map_or(1, |side| side.0.len())])
    }

    /// The length in the first run.
    pub fn recorded(&self) -> usize {
        self.0[0]
    }

    /// Whether a range takes all of it in every run.
    pub fn is_all(&self, mut ranges: impl Iterator<Item = Slice>) -> bool {
        self.0.iter().all(|side| {
            let Some(range) = ranges.next() else {
                return false;
            };
            let to_end = range.end.is_none_or(|end| end == *side as isize);
            range.start == 0 && range.step == 1 && to_end
        })
    }
}

/// One run of a network.
struct Run {
    operations: Vec<OperationIr>,
    values: BTreeMap<TensorId, TensorData>,
    input: TensorId,
    output: TensorId,
}

impl Recording {
    /// Runs a model without autodiff, with images of a size, and with each of the `others`.
    pub fn new(model: &Classifier, sides: [usize; 2], others: &[[usize; 2]]) -> Result<Self> {
        let run = |images: usize, [height, width]: [usize; 2]| {
            record(model, [images, model.in_channels(), height, width])
        };
        let first = run(IMAGES[0], sides)?;
        let mut all_sides = HashMap::new();
        let mut ranges = HashMap::new();
        for operation in &first.operations {
            if let Some(slice) = slice_of(operation) {
                ranges.insert(slice.out.id, vec![slice.ranges.clone()]);
            }
            for tensor in operation.nodes() {
                let sides = tensor.shape.iter().map(|side| Side(vec![*side]));
                all_sides.insert(tensor.id, sides.collect());
            }
        }
        let mut recording = Self {
            operations: first.operations,
            values: first.values,
            input: first.input,
            output: first.output,
            sides: all_sides,
            ranges,
        };
        recording.add(run(IMAGES[1], sides)?, "the number of images")?;
        for other in others {
            recording.add(run(IMAGES[0], *other)?, "their size")?;
        }
        Ok(recording)
    }

    /// The dimensions of a tensor.
    pub fn sides(&self, tensor: &TensorIr) -> &[Side] {
        self.sides.get(&tensor.id).map_or(&[], Vec::as_slice)
    }

    /// The ranges of a slice in each run.
    pub fn ranges(&self, slice: &SliceOpIr) -> &[Vec<Slice>] {
        self.ranges.get(&slice.out.id).map_or(&[], Vec::as_slice)
    }

    /// Compares a run that differs in one thing with the first, and keeps the lengths of its dimensions.
    fn add(&mut self, run: Run, by: &str) -> Result<()> {
        let differs = |what: String| {
            impossible(
                format!("a network that computes the same whatever {by}"),
                format!("{what}, which follows from {by}"),
            )
        };
        let mut same = [Renumbered::default(), Renumbered::default()];
        let mut ids = HashMap::new();
        for (first, other) in self.operations.iter().zip(&run.operations) {
            if same[0].of(first) != same[1].of(other) {
                let [name, other] = [first, other].map(name_of);
                return Err(differs(if name == other {
                    format!("{name} with other arguments")
                } else {
                    format!("{other} in place of {name}")
                }));
            }
            if let (Some(first), Some(other)) = (slice_of(first), slice_of(other)) {
                let ranges = self.ranges.entry(first.out.id).or_default();
                ranges.push(other.ranges.clone());
            }
            for (tensor, other) in first.nodes().into_iter().zip(other.nodes()) {
                if ids.insert(tensor.id, other.id).is_some() {
                    continue;
                }
                for (sides, side) in self
                    .sides
                    .entry(tensor.id)
                    .or_default()
                    .iter_mut()
                    .zip(other.shape.iter())
                {
                    sides.0.push(*side);
                }
                let values = (self.values.get(&tensor.id), run.values.get(&other.id));
                if tensor.id != self.input && values.0 != values.1 {
                    return Err(differs(format!("a constant of {}", name_of(first))));
                }
            }
        }
        let is_as_long = self.operations.len() == run.operations.len();
        if !is_as_long || ids.get(&self.output) != Some(&run.output) {
            return Err(differs("the last operation".to_owned()));
        }
        Ok(())
    }
}

fn slice_of(operation: &OperationIr) -> Option<&SliceOpIr> {
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Slice(slice))
        | OperationIr::BaseInt(BaseOperationIr::Slice(slice))
        | OperationIr::BaseBool(BaseOperationIr::Slice(slice)) => Some(slice),
        _ => None,
    }
}

/// The operation's name in burn's graph, such as `Module(Conv2d`.
pub fn name_of(operation: &OperationIr) -> String {
    // Only its `Debug` says it: the enums are nested, and have some 200 variants.
    let text = format!("{operation:?}");
    let end = text.find("OpIr").unwrap_or(text.len().min(40));
    let names = text[..end].split(|c: char| !c.is_ascii_alphanumeric());
    // `Float(F32, Exp(..` has its type between the two.
    let is_type = |name: &str| name.len() < 5 && name.ends_with(|c: char| c.is_ascii_digit());
    let mut names = names.filter(|name| !name.is_empty() && !is_type(name));
    let kind = names.next().unwrap_or_default();
    match names.next() {
        Some(name) => format!("{kind}::{name}"),
        None => kind.to_owned(),
    }
}

/// Runs a model on a capture device, which computes nothing.
fn record(model: &Classifier, images: [usize; 4]) -> Result<Run> {
    // One for each run: what was moved to a device belongs to the run in which it was.
    let device = Device::capture();
    let mut ends = None;
    let run = || {
        device.capture_scope(|scope| {
            let fused = model.clone().to_device(&device).fuse();
            let images = Tensor::from_data(TensorData::zeros::<f32, _>(images), &device);
            let outcome = id(&images).and_then(|input| {
                let scores = fused.forward(images)?;
                Ok([input, id(&scores)?])
            });
            let token = match &outcome {
                Ok([input, output]) => scope.complete([*input], [*output]),
                Err(_) => scope.complete([], []),
            };
            ends = Some(outcome);
            token
        })
    };
    // An operation that needs values, which a capture has none of, panics.
    let captured = panics::quietly(|_| true, run).map_err(|(message, _)| {
        impossible(
            "a network that can be recorded",
            message.unwrap_or_default(),
        )
    })?;
    let [input, output] = ends.unwrap_or_else(|| Err(impossible("scores", "nothing")))?;
    let CapturedGraph { graph, values } =
        captured.map_err(|error| impossible("a network that can be recorded", error))?;
    let mut operations = graph.operations;
    operations.retain(|operation| !matches!(operation, OperationIr::Init(_)));
    Ok(Run {
        operations,
        values,
        input,
        output,
    })
}

fn id<const D: usize>(tensor: &Tensor<D>) -> Result<TensorId> {
    let tensor = tensor.clone().try_into_primitive::<CaptureBackend>();
    let tensor = tensor.map_err(|error| {
        impossible(
            "a network that stays on its device",
            format!("a tensor elsewhere: {error:?}"),
        )
    })?;
    Ok(tensor.id())
}

/// Operations without what two runs may differ in: tensors are numbered in the order of their
/// first use, and only the number of their dimensions counts. Ranges of slices are compared where they
/// are translated.
#[derive(Default)]
struct Renumbered(HashMap<TensorId, TensorId>);

impl Renumbered {
    fn of(&mut self, operation: &OperationIr) -> OperationIr {
        let mut operation = operation.clone();
        operation.visit_mut(self);
        operation
    }
}

impl IrVisitorMut for Renumbered {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        let next = TensorId::new(self.0.len() as u64);
        tensor.id = *self.0.entry(tensor.id).or_insert(next);
        tensor.status = TensorStatus::ReadOnly;
        tensor.shape = Shape::from(vec![0; tensor.shape.num_dims()]);
    }

    fn visit_range_mut(&mut self, range: &mut Slice) {
        *range = Slice::new(0, None, range.step);
    }
}
