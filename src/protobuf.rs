//! Protobuf messages, written field by field.

// TensorBoard's events and ONNX each use a part.
#![cfg_attr(not(all(feature = "tensorboard", feature = "onnx")), allow(dead_code))]

/// A message; fields are to be added in ascending order.
///
/// Protobuf leaves out fields that are 0 or empty, but for members of a `oneof` and elements of a
/// list: those are added with the methods that begin with `push`.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn int(self, field: u64, value: i64) -> Self {
        if value == 0 {
            self
        } else {
            self.push_int(field, value)
        }
    }

    pub fn double(self, field: u64, value: f64) -> Self {
        if value == 0.0 {
            self
        } else {
            self.push_double(field, value)
        }
    }

    pub fn bytes(self, field: u64, value: &[u8]) -> Self {
        if value.is_empty() {
            self
        } else {
            self.push_bytes(field, value)
        }
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A list of numbers.
    pub fn doubles(self, field: u64, values: &[f64]) -> Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.bytes(field, &bytes)
    }

    pub fn push_int(self, field: u64, value: i64) -> Self {
        self.varint(field << 3).varint(value as u64)
    }

    pub fn push_double(self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1).raw(&value.to_le_bytes())
    }

    pub fn push_float(self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5).raw(&value.to_le_bytes())
    }

    pub fn push_bytes(self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2)
            .varint(value.len() as u64)
            .raw(value)
    }

    pub fn push_text(self, field: u64, value: &str) -> Self {
        self.push_bytes(field, value.as_bytes())
    }

    pub fn push(self, field: u64, value: &Message) -> Self {
        self.push_bytes(field, &value.0)
    }

    pub fn push_all(self, field: u64, values: impl IntoIterator<Item = Message>) -> Self {
        let values = values.into_iter();
        values.fold(self, |message, value| message.push(field, &value))
    }

    /// A map from text to messages.
    pub fn map(self, field: u64, entries: impl IntoIterator<Item = (String, Message)>) -> Self {
        let entries = entries.into_iter();
        let entries = entries.map(|(key, value)| Message::default().text(1, &key).push(2, &value));
        self.push_all(field, entries)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}
