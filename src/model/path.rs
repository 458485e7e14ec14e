//! The path of what a walk over a module is at.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::stages;

/// What the walk calls the level of a [`ConvNorm`](crate::nn::ConvNorm).
const CONV_NORM: &str = "Struct:ConvNorm";

/// The path of the module being visited, without wrappers.
#[derive(Default)]
pub(super) struct Path(Vec<Level>);

/// What a level of nesting does to a path.
enum Level {
    Name(String),
    /// Nothing: it merely wraps.
    Wrapper,
    /// It takes the place of the level above.
    Renamed(String),
}

impl Path {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.0.push(match (container, name) {
            // An enum's variant and the field that holds the backbone say nothing about a parameter.
            ("Struct:Classifier", "backbone") | (CONV_NORM, "conv") => Level::Wrapper,
            (container, _) if container.starts_with("Enum:") => Level::Wrapper,
            (stages::CONTAINER, stage) => Level::Renamed(stage.to_owned()),
            (CONV_NORM, _) => Level::Renamed(self.norm_name()),
            _ => Level::Name(name.to_owned()),
        });
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    pub(super) fn join(&self) -> String {
        let mut parts: Vec<&str> = Vec::with_capacity(self.0.len());
        for level in &self.0 {
            match level {
                Level::Wrapper => {}
                Level::Name(name) => parts.push(name),
                Level::Renamed(name) => {
                    parts.pop();
                    parts.push(name);
                }
            }
        }
        parts.join(".")
    }

    /// What the normalisation of a [`ConvNorm`](crate::nn::ConvNorm) is called, by the name of the
    /// field that holds both: `bn1` of `conv1`.
    fn norm_name(&self) -> String {
        let name = self.0.iter().rev().find_map(|level| match level {
            Level::Name(name) | Level::Renamed(name) => Some(name.as_str()),
            Level::Wrapper => None,
        });
        let name = name.unwrap_or_default();
        match name.strip_prefix("conv") {
            Some(rest) => format!("bn{rest}"),
            None => format!("{name}_bn"),
        }
    }
}

/// The path of the normalisation with running statistics that directly follows a convolution: that of
/// the same [`ConvNorm`](crate::nn::ConvNorm), if it is in one.
pub(super) fn norm_of(module: &impl Module, conv: &str) -> Option<String> {
    struct Find<'a> {
        path: Path,
        conv: &'a str,
        is_next: bool,
        found: Option<String>,
    }
    impl ModuleVisitor for Find<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            if (container_type, name) == (CONV_NORM, "norm") {
                self.is_next = self.path.join() == self.conv;
            }
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, name: &str, container_type: &str) {
            if (container_type, name) == (CONV_NORM, "norm") {
                self.is_next = false;
            }
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            if self.is_next {
                let path = self.path.join();
                let norm = path.strip_suffix(".running_mean").map(str::to_owned);
                self.found = self.found.take().or(norm);
            }
        }
    }
    let mut visitor = Find {
        path: Path::default(),
        conv,
        is_next: false,
        found: None,
    };
    module.visit(&mut visitor);
    visitor.found
}
