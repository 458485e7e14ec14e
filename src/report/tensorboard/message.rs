//! Messages that several events share. The numbers of the fields are those of TensorFlow's
//! `event.proto`, `summary.proto`, `tensor.proto` and `graph.proto`, and of TensorBoard's
//! `hparams/plugin_data.proto` and `hparams/api.proto`.

use crate::protobuf::Message;

/// `TensorShapeProto`; -1 is a size that is not known.
pub fn tensor_shape(sizes: &[i64]) -> Message {
    let sizes = sizes.iter().map(|size| Message::default().int(1, *size));
    Message::default().push_all(2, sizes)
}

/// `SummaryMetadata`: which dashboard a value is for.
pub fn plugin_metadata(name: &str, content: &[u8]) -> Message {
    let plugin = Message::default().text(1, name).bytes(2, content);
    Message::default().push(1, &plugin)
}
