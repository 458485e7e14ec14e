//! A model's structure for the Graphs tab.

use std::collections::{BTreeMap, HashSet};

use super::message::tensor_shape;
use crate::error::{Error, Result};
use crate::protobuf::Message;

/// One layer, or whatever else a box in the Graphs tab stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GraphNode {
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
const PRODUCER: i64 = 22;

/// The attribute that TensorBoard reads shapes from.
const SHAPES: &str = "_output_shapes";

/// `GraphDef`.
pub fn graph_def(nodes: &[GraphNode]) -> Result<Message> {
    check(nodes)?;
    let versions = Message::default().int(1, PRODUCER);
    Ok(Message::default()
        .push_all(1, nodes.iter().map(node_def))
        .push(4, &versions))
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

/// `NodeDef`.
fn node_def(node: &GraphNode) -> Message {
    let text = |value: &str| Message::default().push_text(2, value);
    let attributes = node.attributes.iter();
    let attributes = attributes.map(|(name, value)| (name.clone(), text(value)));
    let mut attributes: BTreeMap<String, Message> = attributes.collect();
    if !node.output_shape.is_empty() {
        let shapes = Message::default().push(7, &tensor_shape(&node.output_shape));
        attributes.insert(SHAPES.to_owned(), Message::default().push(1, &shapes));
    }
    let def = Message::default().text(1, &node.name).text(2, &node.op);
    let inputs = node.inputs.iter();
    inputs
        .fold(def, |def, input| def.push_text(3, input))
        .map(5, attributes)
}
