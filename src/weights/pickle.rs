//! Follows a pickle's instructions and counts what they would create, before anything else reads
//! it.
//!
//! PyTorch files are read by the crate `pytorch-reader`, which runs no code of a file. It does not
//! bound what a pickle unfolds into, though: a few hundred bytes can make it take gigabytes, or
//! nest deeply enough to overflow the stack.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use super::read_error::ReadError;

/// Checks the first `count` pickles of a stream.
pub(super) fn check_pickles(stream: impl BufRead, count: usize) -> Result<(), ReadError> {
    let mut check = PickleCheck {
        stream,
        left: MOST_OBJECTS,
    };
    (0..count).try_for_each(|_| check.run())
}

/// The most objects that a pickle may make the reader create. A tensor of a state dict takes about
/// 70 and one of a saved module about 600, while the largest image classifiers have 2000. It keeps
/// the reader's memory to some hundred megabytes at worst.
const MOST_OBJECTS: u64 = 1 << 21;

/// How deep containers may be nested. The reader goes down recursively.
const DEEPEST: u32 = 128;

/// Follows the instructions of a pickle without creating any of its objects, and counts how many
/// the reader would create. Whatever it cannot follow is an error.
struct PickleCheck<R> {
    stream: R,
    left: u64,
}

/// What stands for an object on the stack of the unpickler.
#[derive(Debug, Clone, Copy, Default)]
struct Weighed {
    /// How many objects it consists of; a string counts as one for each so many bytes.
    objects: u64,
    depth: u32,
    /// The number under which the unpickler remembers it.
    memo: Option<u32>,
}

#[derive(Debug, Default)]
struct Stack {
    values: Vec<Weighed>,
    marks: Vec<usize>,
}

impl Stack {
    fn top(&mut self) -> Result<&mut Weighed, ReadError> {
        let bottom = self.marks.last().copied().unwrap_or_default();
        (self.values.get_mut(bottom..))
            .and_then(<[Weighed]>::last_mut)
            .ok_or_else(|| damaged_pickle("it takes a value where there is none"))
    }

    fn pop(&mut self) -> Result<Weighed, ReadError> {
        let top = *self.top()?;
        self.values.pop();
        Ok(top)
    }

    /// All values above the last mark as one.
    fn pop_to_mark(&mut self) -> Result<Weighed, ReadError> {
        let mark = (self.marks.pop())
            .ok_or_else(|| damaged_pickle("it takes a mark where there is none"))?;
        let above = self.values.drain(mark.min(self.values.len())..);
        Ok(above.fold(Weighed::default(), Weighed::with))
    }

    fn pop_together(&mut self, count: usize) -> Result<Weighed, ReadError> {
        (0..count).try_fold(Weighed::default(), |sum, _| Ok(sum.with(self.pop()?)))
    }
}

impl Weighed {
    fn with(self, other: Weighed) -> Weighed {
        Weighed {
            objects: self.objects.saturating_add(other.objects),
            depth: self.depth.max(other.depth),
            memo: None,
        }
    }

    fn contained(self) -> Weighed {
        Weighed {
            objects: self.objects.saturating_add(1),
            depth: self.depth.saturating_add(1),
            memo: None,
        }
    }
}

fn damaged_pickle(how: &str) -> ReadError {
    ReadError::Format(format!("its pickle is damaged: {how}"))
}

impl<R: BufRead> PickleCheck<R> {
    fn run(&mut self) -> Result<(), ReadError> {
        let mut stack = Stack::default();
        let mut memo: HashMap<u32, Weighed> = HashMap::new();
        loop {
            let instruction = self.bytes::<1>()?[0];
            match instruction {
                // The protocol and the frame say nothing about the objects.
                0x80 => {
                    self.bytes::<1>()?;
                }
                0x95 => {
                    self.bytes::<8>()?;
                }
                b'.' => return Ok(()),

                // Values, of a fixed length, up to the end of the line, or of a stated length.
                b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.push(&mut stack, 0)?,
                b'K' => self.push_bytes(&mut stack, 1)?,
                b'M' => self.push_bytes(&mut stack, 2)?,
                b'J' => self.push_bytes(&mut stack, 4)?,
                b'G' => self.push_bytes(&mut stack, 8)?,
                b'I' | b'L' | b'F' | b'V' | b'P' => {
                    let length = self.line()?.len() as u64;
                    self.push(&mut stack, length)?;
                }
                b'c' => {
                    let length = self.line()?.len() + self.line()?.len();
                    // Two texts.
                    self.take(1)?;
                    self.push(&mut stack, length as u64)?;
                }
                0x8a | b'U' | b'C' | 0x8c => {
                    let length = u64::from(self.bytes::<1>()?[0]);
                    self.push_bytes(&mut stack, length)?;
                }
                0x8b | b'T' | b'X' | b'B' => {
                    let length = u64::from(u32::from_le_bytes(self.bytes()?));
                    self.push_bytes(&mut stack, length)?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = u64::from_le_bytes(self.bytes()?);
                    self.push_bytes(&mut stack, length)?;
                }

                // Containers.
                b'(' => {
                    self.take(1)?;
                    stack.marks.push(stack.values.len());
                }
                b't' | b'l' | b'd' | 0x91 => {
                    let items = stack.pop_to_mark()?;
                    self.push_container(&mut stack, items)?;
                }
                0x85..=0x87 => {
                    let items = stack.pop_together(usize::from(instruction - 0x84))?;
                    self.push_container(&mut stack, items)?;
                }
                b'a' | b's' => {
                    let items = stack.pop_together(if instruction == b'a' { 1 } else { 2 })?;
                    self.add_items(&mut stack, items)?;
                }
                b'e' | b'u' | 0x90 => {
                    let items = stack.pop_to_mark()?;
                    self.add_items(&mut stack, items)?;
                }

                // The stack itself.
                b'0' => {
                    if stack.marks.last() == Some(&stack.values.len()) {
                        stack.marks.pop();
                    } else {
                        stack.pop()?;
                    }
                }
                b'1' => {
                    stack.pop_to_mark()?;
                }
                b'2' => {
                    let top = *stack.top()?;
                    self.take(top.objects)?;
                    stack.values.push(top);
                }

                // The memo, of which every use is a copy.
                b'p' | b'q' | b'r' | 0x94 => {
                    let index = match instruction {
                        b'p' => self.index_line()?,
                        b'q' => u32::from(self.bytes::<1>()?[0]),
                        b'r' => u32::from_le_bytes(self.bytes()?),
                        _ => memo.len() as u32,
                    };
                    let top = stack.top()?;
                    top.memo = Some(index);
                    self.take(top.objects)?;
                    memo.insert(index, *top);
                }
                b'g' | b'h' | b'j' => {
                    let index = match instruction {
                        b'g' => self.index_line()?,
                        b'h' => u32::from(self.bytes::<1>()?[0]),
                        _ => u32::from_le_bytes(self.bytes()?),
                    };
                    let value = *(memo.get(&index))
                        .ok_or_else(|| damaged_pickle("it recalls a value it has not stored"))?;
                    self.take(value.objects)?;
                    stack.values.push(value);
                }

                // Calls and storages, whose result is no larger than what they are made of.
                b'Q' => {
                    let value = stack.pop_together(1)?;
                    stack.values.push(value);
                }
                0x93 | b'R' | 0x81 => {
                    let value = stack.pop_together(2)?;
                    stack.values.push(value);
                }
                0x92 => {
                    let value = stack.pop_together(3)?;
                    stack.values.push(value);
                }
                b'b' => {
                    let state = stack.pop()?;
                    let object = stack.pop()?;
                    let mut built = object.with(state);
                    if let Some(index) = object.memo {
                        built.memo = Some(index);
                        self.take(built.objects)?;
                        memo.insert(index, built);
                        // The unpickler forgets which value on the stack is the stored one.
                        built.memo = None;
                    }
                    stack.values.push(built);
                }
                other => {
                    return Err(damaged_pickle(&format!(
                        "it has the instruction 0x{other:02x}"
                    )));
                }
            }
        }
    }

    /// Takes objects off what is still allowed.
    fn take(&mut self, objects: u64) -> Result<(), ReadError> {
        match self.left.checked_sub(objects) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ReadError::Format(format!(
                "its pickle unfolds into more than {MOST_OBJECTS} objects"
            ))),
        }
    }

    /// Pushes a value without parts that holds `length` bytes of text or data.
    fn push(&mut self, stack: &mut Stack, length: u64) -> Result<(), ReadError> {
        let objects = 1 + length / 64;
        self.take(objects)?;
        stack.values.push(Weighed {
            objects,
            depth: 0,
            memo: None,
        });
        Ok(())
    }

    /// The same for a value whose bytes come next in the stream.
    fn push_bytes(&mut self, stack: &mut Stack, length: u64) -> Result<(), ReadError> {
        let skipped = io::copy(&mut (&mut self.stream).take(length), &mut io::sink())?;
        if skipped < length {
            return Err(damaged_pickle("it ends too early"));
        }
        self.push(stack, length)
    }

    fn push_container(&mut self, stack: &mut Stack, items: Weighed) -> Result<(), ReadError> {
        self.take(1)?;
        stack.values.push(check_depth(items.contained())?);
        Ok(())
    }

    /// Puts items into the container on top of the stack.
    fn add_items(&mut self, stack: &mut Stack, items: Weighed) -> Result<(), ReadError> {
        let items = check_depth(items.contained())?;
        let top = stack.top()?;
        // Lists and dictionaries begin with room for four.
        let room = if top.objects == 1 { 4 } else { 0 };
        top.objects = top.objects.saturating_add(items.objects);
        top.depth = top.depth.max(items.depth);
        self.take(room)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged_pickle("it ends too early"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The rest of a line, as the unpickler reads it.
    fn line(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(damaged_pickle("it ends too early"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn index_line(&mut self) -> Result<u32, ReadError> {
        let line = self.line()?;
        (std::str::from_utf8(&line).ok())
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| damaged_pickle("it stores or recalls a value by no number"))
    }
}

fn check_depth(value: Weighed) -> Result<Weighed, ReadError> {
    if value.depth <= DEEPEST {
        return Ok(value);
    }
    Err(ReadError::Format(format!(
        "its pickle nests more than {DEEPEST} containers in each other"
    )))
}
