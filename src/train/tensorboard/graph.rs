//! A model's structure for the Graphs tab.

use std::collections::{BTreeMap, HashSet};

use super::proto;
use crate::error::{Error, Result};

/// One layer, or whatever else a box in the Graphs tab stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphNode {
    /// The name, in scopes: `layer1/0/conv1` is drawn within `layer1` and `layer1/0`, which can be
    /// opened and closed.
    pub name: String,
    /// What it does, such as `Conv2d`; boxes are coloured by it.
    pub op: String,
    /// Names of the nodes it takes its inputs from.
    pub inputs: Vec<String>,
    /// What else is shown of it, by name, such as `kernel` and `3 x 3`.
    pub attributes: Vec<(String, String)>,
    /// The shape of what it gives, shown on the arrow that leaves it; -1 for a size that is not
    /// known, such as that of the batch. Empty where the shape is not known at all.
    pub output_shape: Vec<i64>,
}

/// TensorFlow's graph format since 2016.
const PRODUCER: i32 = 22;

/// The attribute that TensorBoard reads shapes from.
const SHAPES: &str = "_output_shapes";

pub fn graph_def(nodes: &[GraphNode]) -> Result<proto::GraphDef> {
    check(nodes)?;
    Ok(proto::GraphDef {
        node: nodes.iter().map(node_def).collect(),
        versions: Some(proto::VersionDef { producer: PRODUCER }),
    })
}

fn check(nodes: &[GraphNode]) -> Result<()> {
    let mut names = HashSet::new();
    for GraphNode { name, .. } in nodes {
        if name.split('/').any(str::is_empty) {
            let expected = "a name, or names joined by /";
            return Err(Error::argument("graph", expected, format!("`{name}`")));
        }
        if !names.insert(name.as_str()) {
            let found = format!("`{name}` twice");
            return Err(Error::argument(
                "graph",
                "a name of its own for each node",
                found,
            ));
        }
    }
    for GraphNode { name, inputs, .. } in nodes {
        if let Some(input) = inputs.iter().find(|input| !names.contains(input.as_str())) {
            return Err(Error::argument(
                "graph",
                "inputs that are names of nodes",
                format!("`{input}` as an input of `{name}`"),
            ));
        }
    }
    Ok(())
}

fn node_def(node: &GraphNode) -> proto::NodeDef {
    let text = |value: &String| proto::AttrValue {
        s: Some(value.clone().into_bytes()),
        ..Default::default()
    };
    let mut attr: BTreeMap<String, proto::AttrValue> = node
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    if !node.output_shape.is_empty() {
        let shape = vec![proto::TensorShape::new(&node.output_shape)];
        let list = Some(proto::AttrList { shape });
        attr.insert(SHAPES.to_owned(), proto::AttrValue { list, s: None });
    }
    proto::NodeDef {
        name: node.name.clone(),
        op: node.op.clone(),
        input: node.inputs.clone(),
        attr,
    }
}
