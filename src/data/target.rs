//! What is to be told of an image.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::text_choice;

/// What a model learns to tell of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// One of the classes.
    #[default]
    SingleLabel,
    /// Any number of the classes, each by itself.
    MultiLabel,
    /// Numbers.
    Regression,
}

text_choice!(Task, "task");

impl Task {
    /// What transformers calls it: `problem_type` in `config.json`.
    pub fn problem_type(self) -> &'static str {
        match self {
            Task::SingleLabel => "single_label_classification",
            Task::MultiLabel => "multi_label_classification",
            Task::Regression => "regression",
        }
    }

    /// The task of a `problem_type`.
    pub fn of_problem_type(text: &str) -> Option<Self> {
        let all = [Task::SingleLabel, Task::MultiLabel, Task::Regression];
        all.into_iter().find(|task| task.problem_type() == text)
    }
}

/// What is to be told of one image.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Its class, an index.
    Class(usize),
    /// The classes that it has, indices; there may be none.
    Classes(Vec<usize>),
    /// Numbers, one for each output of the model.
    Values(Vec<f32>),
}

impl From<usize> for Target {
    fn from(class: usize) -> Self {
        Target::Class(class)
    }
}

impl Target {
    /// Of which task it is.
    pub fn task(&self) -> Task {
        match self {
            Target::Class(_) => Task::SingleLabel,
            Target::Classes(_) => Task::MultiLabel,
            Target::Values(_) => Task::Regression,
        }
    }

    /// What is another one for another target.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let numbers = |numbers: &[usize]| -> Vec<u8> {
            let numbers = numbers.iter().map(|number| (*number as u64).to_le_bytes());
            numbers.flatten().collect()
        };
        match self {
            Target::Class(class) => numbers(&[*class]),
            Target::Classes(classes) => [numbers(&[classes.len()]), numbers(classes)].concat(),
            Target::Values(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The class.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a target of another task.
    pub fn class(&self) -> Result<usize> {
        match self {
            Target::Class(class) => Ok(*class),
            other => Err(Error::argument("target", "one class", other.task())),
        }
    }
}

/// The targets of some images, in host memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// A class for each.
    Classes(Vec<usize>),
    /// A row for each: 1 for each class that an image has and 0 for the others, or numbers.
    Rows {
        /// The rows, one after the other.
        values: Vec<f32>,
        /// The length of a row.
        width: usize,
    },
}

impl Default for Targets {
    fn default() -> Self {
        Targets::Classes(Vec::new())
    }
}

impl Targets {
    /// Of no image yet, for a task with so many classes or numbers.
    pub(crate) fn none(task: Task, width: usize) -> Self {
        match task {
            Task::SingleLabel => Targets::Classes(Vec::new()),
            Task::MultiLabel | Task::Regression => Targets::Rows {
                values: Vec::new(),
                width,
            },
        }
    }

    /// Appends that of one image.
    pub(crate) fn push(&mut self, target: &Target) -> Result<()> {
        match (self, target) {
            (Targets::Classes(classes), Target::Class(class)) => classes.push(*class),
            (Targets::Rows { values, width }, Target::Classes(classes)) => {
                let start = values.len();
                values.resize(start + *width, 0.0);
                for class in classes {
                    let value = values[start..].get_mut(*class);
                    *value.ok_or_else(|| no_class(*class, *width))? = 1.0;
                }
            }
            (Targets::Rows { values, width }, Target::Values(own)) if own.len() == *width => {
                if let Some(value) = own.iter().find(|value| !value.is_finite()) {
                    return Err(Error::argument("target", "finite numbers", value));
                }
                values.extend(own);
            }
            (Targets::Rows { width, .. }, Target::Values(own)) => {
                let expected = format!("{width} numbers for each image");
                return Err(Error::argument("target", expected, own.len()));
            }
            (Targets::Classes(_), other) => {
                return Err(Error::argument("target", "one class", other.task()));
            }
            (Targets::Rows { .. }, Target::Class(class)) => {
                let expected = "several labels or numbers";
                return Err(Error::argument(
                    "target",
                    expected,
                    format!("class {class}"),
                ));
            }
        }
        Ok(())
    }

    /// Appends that of an image that could not be read, which means nothing.
    pub(crate) fn push_empty(&mut self) {
        match self {
            Targets::Classes(classes) => classes.push(0),
            Targets::Rows { values, width } => values.resize(values.len() + *width, 0.0),
        }
    }

    /// Appends that of an image of others.
    pub(crate) fn push_from(&mut self, others: &Self, index: usize) {
        match (self, others) {
            (Targets::Classes(own), Targets::Classes(others)) => own.push(others[index]),
            (Targets::Rows { values, width }, Targets::Rows { values: others, .. }) => {
                values.extend(&others[index * *width..][..*width]);
            }
            (own, _) => own.push_empty(),
        }
    }

    /// Those of some images.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        let mut selected = match self {
            Targets::Classes(_) => Targets::Classes(Vec::with_capacity(indices.len())),
            Targets::Rows { width, .. } => Targets::Rows {
                values: Vec::with_capacity(indices.len() * width),
                width: *width,
            },
        };
        for index in indices {
            selected.push_from(self, *index);
        }
        selected
    }

    /// That of one image, of this task; `None` past the last.
    pub(super) fn get(&self, task: Task, index: usize) -> Option<Target> {
        match self {
            Targets::Classes(classes) => classes.get(index).copied().map(Target::Class),
            Targets::Rows { values, width } => {
                let row = values.chunks_exact((*width).max(1)).nth(index)?;
                let classes = row.iter().enumerate().filter(|(_, value)| **value != 0.0);
                Some(match task {
                    Task::Regression => Target::Values(row.to_vec()),
                    _ => Target::Classes(classes.map(|(class, _)| class).collect()),
                })
            }
        }
    }

    /// Images.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(classes) => classes.len(),
            Targets::Rows { values, width } => values.len() / (*width).max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of each image.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for targets that are not one class for each image.
    pub fn classes(&self) -> Result<&[usize]> {
        match self {
            Targets::Classes(classes) => Ok(classes),
            Targets::Rows { .. } => {
                let found = "several labels or numbers for each image";
                Err(Error::argument("targets", "a class for each image", found))
            }
        }
    }

    /// The classes as a tensor.
    ///
    /// # Shapes
    /// - output: `[images]`
    ///
    /// # Errors
    /// As [`classes`](Self::classes).
    pub fn labels(&self, device: &Device) -> Result<Tensor<1, Int>> {
        let labels: Vec<i64> = self.classes()?.iter().map(|label| *label as i64).collect();
        let data = TensorData::new(labels, [self.len()]);
        Ok(Tensor::from_data(data, device))
    }

    /// The rows as a tensor.
    ///
    /// # Shapes
    /// - output: `[images, outputs]`
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a class for each image.
    pub fn rows(&self, device: &Device) -> Result<Tensor<2>> {
        match self {
            Targets::Rows { values, width } => {
                let data = TensorData::new(values.clone(), [self.len(), *width]);
                Ok(Tensor::from_data(data, device))
            }
            Targets::Classes(_) => {
                let expected = "several labels or numbers for each image";
                Err(Error::argument("targets", expected, "a class for each"))
            }
        }
    }

    /// Every class must be one of the model's, and every row as long as its output.
    pub(crate) fn check(&self, outputs: usize) -> Result<()> {
        match self {
            Targets::Classes(classes) => match classes.iter().find(|class| **class >= outputs) {
                None => Ok(()),
                Some(class) => Err(no_class(*class, outputs)),
            },
            Targets::Rows { width, .. } if *width == outputs => Ok(()),
            Targets::Rows { width, .. } => Err(Error::argument(
                "num_classes",
                format!("{width}, as many as the data has labels or numbers"),
                outputs,
            )),
        }
    }
}

fn no_class(class: usize, classes: usize) -> Error {
    let expected = format!("more than {class}, a label in the data");
    Error::argument("num_classes", expected, classes)
}
