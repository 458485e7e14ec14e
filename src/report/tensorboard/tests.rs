//! Event files hold what TensorBoard's own messages would hold, and survive what happens to runs.
//! With `BURN_ZOO_PYTHON`, a Python with tensorboard and Pillow, TensorBoard itself reads them:
//! `BURN_ZOO_PYTHON=python cargo test --lib tensorboard::tests -- --ignored`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::preprocess::Image;
use crate::report::tensorboard::EventWriter;
use crate::report::tensorboard::graph::GraphNode;
use crate::report::tensorboard::hparams::HParam;
use serde_json::{Value, json};

/// CRC-32C bit by bit, masked as in a record.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// The records of a file and the bytes after the last whole one.
fn records(mut bytes: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut records = Vec::new();
    let crc = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    while bytes.len() >= 12 {
        let (length, rest) = bytes.split_at(8);
        let (sum, rest) = rest.split_at(4);
        assert_eq!(crc(sum), masked_crc(length), "of a length");
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        if rest.len() < length + 4 {
            break;
        }
        let (data, rest) = rest.split_at(length);
        assert_eq!(crc(&rest[..4]), masked_crc(data), "of a record");
        records.push(data.to_vec());
        bytes = &rest[4..];
    }
    (records, bytes)
}

/// One field of a message: its number and its bytes, which are little-endian for numbers.
type Field = (u64, Vec<u8>);

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than ten bytes");
}

/// The fields of a message, as far as wire format tells.
fn fields(mut bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        fields.push((key >> 3, value.to_vec()));
        bytes = rest;
    }
    fields
}

/// All values under a path of field numbers.
fn find(message: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else {
        return vec![message.to_vec()];
    };
    let found = fields(message).into_iter().filter(|f| f.0 == *first);
    found.flat_map(|f| find(&f.1, rest)).collect()
}

/// The one value under a path.
fn get(message: &[u8], path: &[u64]) -> Vec<u8> {
    let mut found = find(message, path);
    assert_eq!(found.len(), 1, "{path:?}");
    found.remove(0)
}

fn text(message: &[u8], path: &[u64]) -> String {
    String::from_utf8(get(message, path)).unwrap()
}

fn double(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(bytes.try_into().unwrap())
}

fn doubles(packed: &[u8]) -> Vec<f64> {
    packed.chunks(8).map(double).collect()
}

/// The buckets of a histogram that are not empty: lower end, upper end, count.
fn buckets(event: &[u8]) -> Vec<(f64, f64, f64)> {
    let [limits, counts] = BUCKETS.map(|path| doubles(&get(event, path)));
    assert_eq!(limits.len(), counts.len());
    let min = double(&find(event, &[5, 1, 5, 1]).pop().unwrap_or(vec![0; 8]));
    let lower = [min].into_iter().chain(limits.iter().copied());
    let all = lower.zip(&limits).zip(&counts);
    all.filter(|(_, count)| **count > 0.0)
        .map(|((lower, upper), count)| (lower, *upper, *count))
        .collect()
}

/// A message as text, number by number. `skip` are fields that are left out, `nested` those that
/// are messages themselves.
fn dump(message: &[u8], at: &[u64], nested: &[&[u64]], skip: &[&[u64]]) -> String {
    let mut out = String::new();
    for (number, value) in fields(message) {
        let path = [at, &[number]].concat();
        if skip.contains(&path.as_slice()) {
            continue;
        }
        if nested.contains(&path.as_slice()) {
            out += &dump(&value, &path, nested, skip);
        } else {
            out += &format!("{path:?} {value:02x?}\n");
        }
    }
    out
}

const WALL_TIME: &[u64] = &[1];
const TAG: &[u64] = &[5, 1, 1];
const SIMPLE_VALUE: &[u64] = &[5, 1, 2];
const IMAGE: &[u64] = &[5, 1, 4];
const PNG: &[u64] = &[5, 1, 4, 4];
const HISTOGRAM: &[u64] = &[5, 1, 5];
const SUMS: [&[u64]; 2] = [&[5, 1, 5, 4], &[5, 1, 5, 5]];
const BUCKETS: [&[u64]; 2] = [&[5, 1, 5, 6], &[5, 1, 5, 7]];
const CONTENT: &[u64] = &[5, 1, 9, 1, 2];
const TIMES: [&[u64]; 3] = [
    &[5, 1, 9, 1, 2, 2, 3],
    &[5, 1, 9, 1, 2, 3, 5],
    &[5, 1, 9, 1, 2, 4, 2],
];
const MESSAGES: [&[u64]; 10] = [
    &[5],
    &[5, 1],
    IMAGE,
    HISTOGRAM,
    &[5, 1, 9],
    &[5, 1, 9, 1],
    CONTENT,
    &[5, 1, 9, 1, 2, 2],
    &[5, 1, 9, 1, 2, 3],
    &[5, 1, 9, 1, 2, 4],
];

/// The events of a folder's only file, but the header.
fn events(dir: &Path) -> Vec<Vec<u8>> {
    let (mut events, rest) = read(&only_file(dir));
    assert!(rest.is_empty());
    assert_eq!(text(&events[0], &[3]), "brain.Event:2");
    events.remove(0);
    events
}

fn read(path: &Path) -> (Vec<Vec<u8>>, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let (records, rest) = records(&bytes);
    (records, rest.to_vec())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = files(dir);
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[derive(serde::Deserialize)]
struct Reference {
    file: String,
    events: Vec<(String, String)>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensorboard_events.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(digit).collect()
}

/// Values over many magnitudes, both signs, zeros; as in the fixture's script.
fn weights() -> Vec<f32> {
    let values = (0..3000).map(|i| f64::from(i * 7919 % 1001 - 500) / 64.0);
    values.map(|v| (v.powi(5) / 1e6) as f32).collect()
}

fn rgb() -> Image {
    Image::new(3, 5, 3, (0..45).map(|i| i * 5).collect()).unwrap()
}

fn grey() -> Image {
    Image::new(2, 2, 1, vec![0, 90, 180, 255]).unwrap()
}

fn recipe() -> Vec<(String, HParam)> {
    [
        ("learning_rate", HParam::Number(1e-3)),
        ("optimizer", HParam::Text("adamw".to_owned())),
        ("pretrained", HParam::Flag(true)),
        ("weight_decay", HParam::Number(0.0)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn nodes() -> Vec<GraphNode> {
    let node = |name: &str, op: &str, inputs: &[&str], shape: &[i64]| GraphNode {
        name: name.to_owned(),
        op: op.to_owned(),
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        attributes: Vec::new(),
        output_shape: shape.to_vec(),
    };
    let mut conv = node("net/stem/conv", "Conv2d", &["input"], &[-1, 8, 14, 14]);
    conv.attributes = vec![("kernel".to_owned(), "3 x 3".to_owned())];
    vec![
        node("input", "Input", &[], &[-1, 1, 28, 28]),
        conv,
        node("net/head", "Linear", &["net/stem/conv"], &[]),
    ]
}

/// Everything that the fixture holds, in its order.
fn write_everything(dir: &Path) -> Result<()> {
    let mut writer = EventWriter::create(dir, None)?;
    writer.scalar("loss/train", 7, 0.1)?;
    writer.scalar("loss/train", 0, 0.0)?;
    writer.scalar("loss/train", -1, f64::NAN)?;
    assert_eq!(writer.histogram("weights/fc", 3, weights())?, 0);
    writer.histogram("weights/fc", 4, [0.25; 5])?;
    writer.histogram("weights/fc", 5, [0.0; 3])?;
    writer.image("inputs", 2, &rgb())?;
    writer.image("inputs", 3, &grey())?;
    writer.text("recipe", 1, "# Rezept\n\n`lr` = 1e-3, größer")?;
    writer.tensor_scalar("valid_accuracy", 6, 0.9)?;
    writer.graph(&nodes())?;
    writer.hparams(&recipe(), Some(&["accuracy/valid"]))?;
    writer.finish()
}

#[test]
fn the_reader_reads_what_tensorboard_wrote() {
    let reference = reference();
    let file = bytes(&reference.file);
    let (found, rest) = records(&file);
    assert!(rest.is_empty());
    let expected = reference.events[..2].iter().map(|(_, hex)| bytes(hex));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn events_are_those_of_tensorboard() {
    let dir = tempfile::tempdir().unwrap();
    let before = std::time::SystemTime::now();
    write_everything(dir.path()).unwrap();
    let found = events(dir.path());
    let reference = reference();
    // The last is a restart.
    assert_eq!(found.len(), reference.events.len() - 1);
    let skip = [[WALL_TIME, PNG].as_slice(), &SUMS, &BUCKETS, &TIMES].concat();
    for (event, (what, hex)) in found.iter().zip(&reference.events) {
        let seconds = double(&get(event, WALL_TIME));
        let since = before.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!((0.0..60.0).contains(&(seconds - since.as_secs_f64())));
        let expected = bytes(hex);
        assert_eq!(
            dump(event, &[], &MESSAGES, &skip),
            dump(&expected, &[], &MESSAGES, &skip),
            "{what}"
        );
        // NumPy adds in another order.
        for path in SUMS {
            let [a, b] = [event, &expected].map(|event| find(event, path));
            assert_eq!(a.len(), b.len(), "{what}");
            for (a, b) in a.iter().zip(&b) {
                let (a, b) = (double(a), double(b));
                assert!((a - b).abs() <= 1e-12 * b.abs(), "{what}: {a} {b}");
            }
        }
    }
    for (event, (_, hex)) in found.iter().zip(&reference.events).skip(3).take(3) {
        let (ours, theirs) = (buckets(event), buckets(&bytes(hex)));
        assert_eq!(ours[1..], theirs[1..]);
        // The first begins at the least value; PyTorch's at the end of an empty one before it.
        assert_eq!((ours[0].1, ours[0].2), (theirs[0].1, theirs[0].2));
        assert!(theirs[0].0 <= ours[0].0);
    }
    // Floats that are doubles in the calls.
    assert_eq!(get(&found[0], SIMPLE_VALUE), 0.1_f32.to_le_bytes());
    for (event, image) in found[6..8].iter().zip([rgb(), grey()]) {
        assert_eq!(Image::decode(&get(event, PNG), "png").unwrap(), image);
    }
}

#[test]
fn histograms_leave_out_what_is_not_finite() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    let odd = [f32::NAN, 1.0, f32::INFINITY, -2.0, f32::NEG_INFINITY, -0.0];
    assert_eq!(writer.histogram("some", 1, odd).unwrap(), 3);
    assert_eq!(writer.histogram("none", 1, [f32::NAN]).unwrap(), 1);
    assert_eq!(writer.histogram("none", 2, []).unwrap(), 0);
    let extremes = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -f32::MIN_POSITIVE];
    assert_eq!(writer.histogram("extremes", 1, extremes).unwrap(), 0);
    writer.flush().unwrap();

    let events = events(dir.path());
    assert_eq!(events.len(), 2);
    let numbers = |event: &[u8], field: u64| doubles(&get(event, &[HISTOGRAM, &[field]].concat()));
    assert_eq!(
        [1, 2, 3].map(|f| numbers(&events[0], f)[0]),
        [-2.0, 1.0, 3.0]
    );
    assert_eq!(numbers(&events[0], 7).iter().sum::<f64>(), 3.0);
    let (limits, counts) = (numbers(&events[1], 6), numbers(&events[1], 7));
    // Between them, one empty bucket each.
    assert_eq!(counts, [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    assert!(limits.is_sorted());
    assert_eq!(limits[1..4], [-1e-12, 0.0, 1e-12]);
    assert_eq!(limits[5], f64::MAX);
}

#[test]
fn every_value_is_in_its_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    // All magnitudes, in steps of about a hundredth.
    let values = (0..0x7F80_0000_u32).step_by(0x2_4321).map(f32::from_bits);
    let values: Vec<f32> = values.flat_map(|value| [value, -value]).collect();
    writer.histogram("all", 0, values.iter().copied()).unwrap();
    writer.flush().unwrap();
    let event = &events(dir.path())[0];
    let [limits, counts] = BUCKETS.map(|path| doubles(&get(event, path)));
    assert_eq!(limits.len(), 2 * 774 + 2);
    let mut expected = vec![0.0; limits.len()];
    for value in values {
        expected[limits.partition_point(|limit| *limit <= f64::from(value))] += 1.0;
    }
    assert_eq!(counts, expected);
}

#[test]
fn a_restart_says_twice_where_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    drop(EventWriter::create(dir.path(), Some(41)).unwrap());
    let events = events(dir.path());
    let expected = bytes(&reference().events.last().unwrap().1);
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(
            dump(&event, &[], &[], &[WALL_TIME]),
            dump(&expected, &[], &[], &[WALL_TIME])
        );
    }
}

#[test]
fn what_was_flushed_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    // The header is there at once, so that TensorBoard knows the run.
    assert_eq!(events(dir.path()).len(), 0);
    writer.scalar("loss", 1, 0.5).unwrap();
    assert_eq!(events(dir.path()).len(), 0);
    writer.flush().unwrap();
    assert_eq!(events(dir.path()).len(), 1);
    // A long run need not flush: only whole records are in the file at any time.
    for step in 2..3000 {
        writer.scalar("loss", step, 0.5).unwrap();
    }
    let written = events(dir.path()).len();
    assert!((1000..2999).contains(&written), "{written}");
    // Nothing is dropped, as after kill -9.
    std::mem::forget(writer);
    assert_eq!(events(dir.path()).len(), written);
}

#[test]
fn dropping_a_writer_writes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    writer.scalar("loss", 1, 0.5).unwrap();
    drop(writer);
    assert_eq!(events(dir.path()).len(), 1);
}

#[test]
fn writers_in_one_folder_have_files_of_their_own_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/folder");
    let mut created = Vec::new();
    for step in 0..12 {
        let mut writer = EventWriter::create(&path, None).unwrap();
        writer.scalar("loss", step, 0.0).unwrap();
        created.push(writer.path().to_path_buf());
    }
    assert_eq!(files(&path), created);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let mut writer = EventWriter::create(&path, None).unwrap();
                    writer.scalar("loss", 0, 0.0).unwrap();
                }
            });
        }
    });
    let files = files(&path);
    assert_eq!(files.len(), 12 + 64);
    for file in &files {
        assert_eq!(read(file).0.len(), 2);
        let name = file.file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.split('.').collect();
        assert_eq!(parts[..3], ["events", "out", "tfevents"]);
        assert_eq!(parts[3].len(), 10);
        assert_eq!(parts.len(), 7, "{name}");
        assert_eq!(parts[5], std::process::id().to_string());
    }
}

#[test]
fn what_tensorboard_could_not_show_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    let words = |result: Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        words(writer.scalar("", 0, 0.0)),
        "tag: expected a name, found an empty one"
    );
    writer.scalar("loss", 0, 0.0).unwrap();
    assert_eq!(
        words(writer.text("loss", 0, "")),
        "tag loss: expected a tag of its own for text, found one that holds scalars"
    );
    let two = Image::new(1, 1, 2, vec![0, 0]).unwrap();
    assert_eq!(
        words(writer.image("two", 0, &two)),
        "image: expected 1 or 3 channels, found 2"
    );
    writer.scalar("two", 0, 0.0).unwrap();

    let nan = [("lr".to_owned(), HParam::Number(f64::NAN))];
    assert_eq!(
        words(writer.hparams(&nan, Some(&[]))),
        "hparams lr: expected a finite number, found NaN"
    );
    let twice = [recipe(), recipe()].concat();
    assert!(words(writer.hparams(&twice, Some(&[]))).ends_with("found `learning_rate` twice"));
    let nameless = [(String::new(), HParam::Flag(true))];
    assert!(words(writer.hparams(&nameless, Some(&[]))).starts_with("hparams: "));
    assert!(words(writer.hparams(&recipe(), Some(&[""]))).starts_with("metrics: "));

    let renamed = |index: usize, name: &str| {
        let mut nodes = nodes();
        nodes[index].name = name.to_owned();
        nodes
    };
    for (nodes, found) in [
        (renamed(0, ""), "found ``"),
        (renamed(2, "a//b"), "found `a//b`"),
        (renamed(2, "input"), "found `input` twice"),
        (
            nodes()[1..].to_vec(),
            "found `input` as an input of `net/stem/conv`",
        ),
    ] {
        let error = words(writer.graph(&nodes));
        assert!(error.starts_with("graph: "), "{error}");
        assert!(error.ends_with(found), "{error}");
    }
    // Nothing of all that was written.
    writer.flush().unwrap();
    let tags = events(dir.path())
        .iter()
        .map(|e| text(e, TAG))
        .collect::<Vec<_>>();
    assert_eq!(tags, ["loss", "two"]);

    let file = writer.path().to_path_buf();
    let error = EventWriter::create(&file, None).unwrap_err().to_string();
    assert!(error.starts_with("cannot create "), "{error}");
}

/// What TensorBoard says about a folder.
fn tensorboard(dir: &Path) -> Option<Value> {
    let python = std::env::var_os("BURN_ZOO_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensorboard_check.py");
    let output = Command::new(python).arg(script).arg(dir).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The two that serve TensorBoard's dashboards.
fn boards(found: &Value) -> impl Iterator<Item = &Value> {
    let readers = ["multiplexer", "data_server"].map(|reader| &found[reader]);
    readers.into_iter().filter(|board| !board.is_null())
}

#[test]
#[ignore = "takes a Python with tensorboard in BURN_ZOO_PYTHON"]
fn tensorboard_shows_everything() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut writer = EventWriter::create(&run, None).unwrap();
    writer
        .hparams(&recipe(), Some(&["accuracy/valid"]))
        .unwrap();
    writer.graph(&nodes()).unwrap();
    writer.text("recipe", 0, "*lr* größer").unwrap();
    for step in 0..3 {
        writer
            .scalar("loss/train", step, 0.5 / (step + 1) as f64)
            .unwrap();
        writer
            .scalar("accuracy/valid", step, 0.25 * step as f64)
            .unwrap();
        writer.histogram("weights/fc", step, weights()).unwrap();
        writer.image("inputs", step, &rgb()).unwrap();
    }
    writer.finish().unwrap();
    let Some(found) = tensorboard(&run) else {
        panic!("BURN_ZOO_PYTHON is not set");
    };
    println!("{found:#}");

    let loss = json!([[0, 0.5], [1, 0.25], [2, f64::from(0.5_f32 / 3.0)]]);
    let accuracy = json!([[0, 0.0], [1, 0.25], [2, 0.5]]);
    let images = json!([[0, 5, 3], [1, 5, 3], [2, 5, 3]]);
    let names = json!(["input", "net/stem/conv", "net/head"]);
    let least = weights().into_iter().fold(f32::MAX, f32::min);
    let most = weights().into_iter().fold(f32::MIN, f32::max);

    let accumulator = &found["accumulator"];
    let scalars = json!({ "loss/train": loss, "accuracy/valid": accuracy });
    assert_eq!(accumulator["scalars"], scalars);
    let histogram = |step: i64| json!([step, 3000.0, f64::from(least), f64::from(most)]);
    let histograms = json!({ "weights/fc": [histogram(0), histogram(1), histogram(2)] });
    assert_eq!(accumulator["histograms"], histograms);
    assert_eq!(accumulator["images"], json!({ "inputs": images }));
    assert_eq!(
        accumulator["text"],
        json!({ "recipe": [[0, "*lr* größer"]] })
    );
    assert_eq!(accumulator["graph"], names);

    for board in boards(&found) {
        assert_eq!(board["scalars"]["./loss/train"], loss);
        assert_eq!(board["scalars"]["./accuracy/valid"], accuracy);
        let histograms = board["histograms"]["./weights/fc"].as_array().unwrap();
        assert_eq!(histograms.len(), 3);
        assert!(histograms[0][1].as_u64().unwrap() > 50, "{}", histograms[0]);
        assert_eq!(histograms[0][2][0], f64::from(least));
        assert_eq!(histograms[0][3][1], f64::from(most));
        let distributions = board["distributions"]["./weights/fc"].as_array().unwrap();
        assert_eq!(distributions.len(), 3);
        assert_eq!(board["images"]["./inputs"], images);
        let text = json!([[0, "<p><em>lr</em> größer</p>"]]);
        assert_eq!(board["text"]["./recipe"], text);
        assert_eq!(board["graph"]["."], names);
        let hparams = json!({
            "types": {
                "learning_rate": "DATA_TYPE_FLOAT64",
                "optimizer": "DATA_TYPE_STRING",
                "pretrained": "DATA_TYPE_BOOL",
                "weight_decay": "DATA_TYPE_FLOAT64",
            },
            "metrics": ["accuracy/valid"],
            "sessions": [{
                "name": ".",
                "status": "STATUS_SUCCESS",
                "hparams": {
                    "learning_rate": 1e-3,
                    "optimizer": "adamw",
                    "pretrained": true,
                    "weight_decay": 0.0,
                },
                "metrics": { "accuracy/valid": [2, 0.5] },
            }],
        });
        assert_eq!(board["hparams"], hparams);
    }
}

#[test]
#[ignore = "takes a Python with tensorboard in BURN_ZOO_PYTHON"]
fn tensorboard_forgets_what_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    for step in 1..=6 {
        writer.scalar("loss", step, 1.0).unwrap();
        writer.scalar("only before", step, 1.0).unwrap();
    }
    drop(writer);
    // The first restart in a folder and the second are not the same to TensorBoard.
    for (start, value, loss) in [
        (
            5,
            2.0,
            json!([[1, 1.0], [2, 1.0], [3, 1.0], [4, 1.0], [5, 2.0]]),
        ),
        (
            3,
            3.0,
            json!([[1, 1.0], [2, 1.0], [3, 3.0], [4, 3.0], [5, 3.0]]),
        ),
    ] {
        let mut writer = EventWriter::create(dir.path(), Some(start)).unwrap();
        for step in start..=5 {
            writer.scalar("loss", step, value).unwrap();
        }
        drop(writer);
        let Some(found) = tensorboard(dir.path()) else {
            panic!("BURN_ZOO_PYTHON is not set");
        };
        let before: Vec<Value> = (1..start).map(|step| json!([step, 1.0])).collect();
        assert_eq!(
            found["accumulator"]["scalars"],
            json!({ "loss": loss, "only before": before })
        );
        assert_eq!(
            found["multiplexer"]["scalars"],
            json!({ "./loss": loss, "./only before": before })
        );
        // The data server drops what is replaced, and no more.
        if let Some(board) = found["data_server"]["scalars"].as_object() {
            assert_eq!(board["./loss"], loss);
            assert_eq!(board["./only before"].as_array().unwrap().len(), 6);
        }
    }
}

#[test]
#[ignore = "takes a Python with tensorboard in BURN_ZOO_PYTHON"]
fn tensorboard_reads_a_file_that_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(dir.path(), None).unwrap();
    for step in 0..5 {
        writer.scalar("loss", step, 0.5).unwrap();
    }
    writer.flush().unwrap();
    let path = writer.path().to_path_buf();
    std::mem::forget(writer);
    let whole = std::fs::read(&path).unwrap();
    let last = read(&path).0.last().unwrap().len() + 16;
    // Amid the length, its checksum, the data, their checksum.
    let lengths = BTreeSet::from([1, 8, 10, 12, 20, last - 4, last - 1]);
    for length in lengths {
        std::fs::write(&path, &whole[..whole.len() - last + length]).unwrap();
        let Some(found) = tensorboard(dir.path()) else {
            panic!("BURN_ZOO_PYTHON is not set");
        };
        let loss = json!([[0, 0.5], [1, 0.5], [2, 0.5], [3, 0.5]]);
        assert_eq!(found["accumulator"]["scalars"]["loss"], loss, "{length}");
        for board in boards(&found) {
            assert_eq!(board["scalars"]["./loss"], loss, "{length}");
        }
    }
    // A run that goes on has a file of its own.
    let mut writer = EventWriter::create(dir.path(), Some(4)).unwrap();
    writer.scalar("loss", 4, 0.25).unwrap();
    drop(writer);
    let found = tensorboard(dir.path()).unwrap_or_default();
    for board in boards(&found) {
        assert_eq!(board["scalars"]["./loss"].as_array().unwrap().len(), 5);
        assert_eq!(board["scalars"]["./loss"][4], json!([4, 0.25]));
    }
}
