//! What `WeightsFile` reads, and what it refuses and with which words.
//!
//! PyTorch files come from `fixtures/torch`, which `fixtures/torch_files.py` makes; the rest is
//! built here.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_zoo::Error;
use burn_zoo::weights::{DType, WeightsFile};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

// ---- Helpers ------------------------------------------------------------------------------------

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/torch")
        .join(name)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[track_caller]
fn assert_refused(path: &Path, reason: &str) {
    let error = WeightsFile::open(path).expect_err("the file should be refused");
    assert!(matches!(error, Error::WeightsFormat { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("{}: not a usable weights file: {reason}", path.display())
    );
}

/// The error of reading one tensor of a file that opens.
#[track_caller]
fn read_error(path: &Path, name: &str) -> Error {
    let file = WeightsFile::open(path).unwrap();
    file.read_f32(name)
        .expect_err("the values should be refused")
}

#[track_caller]
fn assert_unreadable(path: &Path, name: &str, reason: &str) {
    let error = read_error(path, name);
    assert!(matches!(error, Error::WeightsFormat { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("{}: not a usable weights file: {reason}", path.display())
    );
}

/// The shapes, types and values of a whole file, by name.
fn contents(path: &Path) -> BTreeMap<String, (Vec<usize>, String, Vec<f32>)> {
    let file = WeightsFile::open(path).unwrap();
    (file.tensors().iter())
        .map(|(name, info)| {
            let values = if info.dtype.is_loadable() {
                file.read_f32(name).unwrap()
            } else {
                Vec::new()
            };
            let dtype = info.dtype.to_string();
            (name.clone(), (info.shape.clone(), dtype, values))
        })
        .collect()
}

/// The contents of a file that holds `fc.weight` [2, 3] and `fc.bias` [2], as most fixtures do.
fn linear() -> BTreeMap<String, (Vec<usize>, String, Vec<f32>)> {
    let weight = (vec![2, 3], "f32".to_owned(), ramp(6));
    let bias = (vec![2], "f32".to_owned(), ramp(2));
    [
        ("fc.weight".to_owned(), weight),
        ("fc.bias".to_owned(), bias),
    ]
    .into()
}

fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 / 2.0).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A safetensors file with this header, be it valid or not.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A ZIP archive with stored entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A PyTorch file of this pickle, with a storage `0` of four bytes.
fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    archive(&[("archive/data.pkl", pickle), ("archive/data/0", &[0; 4])])
}

/// A pickle instruction that makes a string.
fn text(value: &str) -> Vec<u8> {
    let length = (value.len() as u32).to_le_bytes();
    [b"X".as_slice(), &length, value.as_bytes()].concat()
}

/// Pickle instructions that make a tensor of one element of storage `0`, with this shape and all
/// strides as given.
fn tensor(shape: &[u8], strides: &[u8]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x01tQK\x00",
        shape,
        strides,
        b"\x89NtR",
    ]
    .concat()
}

// ---- safetensors --------------------------------------------------------------------------------

#[test]
fn safetensors_of_every_type() {
    let data: Vec<u8> = floats(&ramp(6));
    let half: Vec<u8> = [0x0001_u16, 0x3c00, 0xfbff, 0x8000]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    let brain: Vec<u8> = [0x0001_u16, 0x3f80, 0xff7f, 0x8000]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    // Rounded to the nearest, and to nothing.
    let double: Vec<u8> = [0.1_f64, 1e-60, -2.5]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let tensors = [
        ("weight", view(Dtype::F32, &[2, 3], &data)),
        ("half", view(Dtype::F16, &[4], &half)),
        ("brain", view(Dtype::BF16, &[2, 2], &brain)),
        ("double", view(Dtype::F64, &[3], &double)),
        ("steps", view(Dtype::I64, &[], &data[..8])),
        ("bytes", view(Dtype::U8, &[3], &data[..3])),
        ("flags", view(Dtype::BOOL, &[1], &data[..1])),
        ("scalar", view(Dtype::F32, &[], &data[8..12])),
        ("nothing", view(Dtype::F32, &[0, 4], &[])),
    ];
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).unwrap();
    let folder = Folder::new();
    let path = folder.file("model.safetensors", &bytes);

    let file = WeightsFile::open(&path).unwrap();
    assert_eq!(file.path(), path);
    assert_eq!(
        *file.metadata(),
        BTreeMap::from([("format".to_owned(), "pt".to_owned())])
    );
    let contents = contents(&path);
    let expected: [(&str, &[usize], &str, &[f32]); 9] = [
        ("weight", &[2, 3], "f32", &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5]),
        ("half", &[4], "f16", &[5.960_464_5e-8, 1.0, -65504.0, -0.0]),
        (
            "brain",
            &[2, 2],
            "bf16",
            &[9.183_55e-41, 1.0, -3.389_531_4e38, -0.0],
        ),
        ("double", &[3], "f64", &[0.1, 0.0, -2.5]),
        ("steps", &[], "i64", &[]),
        ("bytes", &[3], "u8", &[]),
        ("flags", &[1], "bool", &[]),
        ("scalar", &[], "f32", &[1.0]),
        ("nothing", &[0, 4], "f32", &[]),
    ];
    assert_eq!(contents.len(), expected.len());
    for (name, shape, dtype, values) in expected {
        let (found_shape, found_dtype, found) = &contents[name];
        assert_eq!(
            (found_shape.as_slice(), found_dtype.as_str()),
            (shape, dtype),
            "{name}"
        );
        // Bits, since -0.0 == 0.0.
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(values), "{name}");
    }

    assert_unreadable(
        &path,
        "steps",
        "tensor `steps` is i64; expected f32, f16, bf16 or f64",
    );
    assert_unreadable(&path, "other", "it holds no tensor `other`");
}

#[test]
fn types_are_named_as_usual() {
    let other = DType::Other("i64".to_owned());
    let names = [
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        other.clone(),
    ]
    .map(|dtype| dtype.to_string());
    assert_eq!(names, ["f16", "bf16", "f32", "f64", "i64"]);
    assert!(DType::F16.is_loadable() && DType::BF16.is_loadable());
    assert!(DType::F32.is_loadable() && DType::F64.is_loadable());
    assert!(!other.is_loadable());
}

#[test]
fn the_content_tells_the_format() {
    let folder = Folder::new();
    let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}"#;
    let bytes = safetensors(header, &floats(&[ramp(6), ramp(2)].concat()));
    assert_eq!(contents(&folder.file("model.pth", &bytes)), linear());
    let bytes = fs::read(fixture("state_dict.pth")).unwrap();
    assert_eq!(
        contents(&folder.file("model.safetensors", &bytes)),
        linear()
    );

    // 128 is also the first byte of a pickle.
    let padded = format!("{header:<128}");
    let padded = if padded.len() == 128 {
        padded
    } else {
        format!("{header:<384}")
    };
    let bytes = safetensors(&padded, &floats(&[ramp(6), ramp(2)].concat()));
    assert_eq!(bytes[0], 0x80);
    assert_eq!(contents(&folder.file("padded", &bytes)), linear());
}

#[test]
fn a_file_can_be_shared_between_threads() {
    let path = fixture("state_dict.pth");
    let file = &WeightsFile::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(file.read_f32("fc.weight").unwrap(), ramp(6)));
        }
    });
}

#[test]
fn wrappers_prefixes_are_taken_off_if_all_names_have_them() {
    let folder = Folder::new();
    let names = |names: [&str; 2]| {
        let header = format!(
            r#"{{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},
                "{}":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}"#,
            names[0], names[1]
        );
        let path = folder.file("names", &safetensors(&header, &floats(&[1.0, 2.0])));
        let contents = contents(&path);
        contents
            .into_iter()
            .map(|(name, (.., values))| (name, values[0]))
            .collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| vec![(a.to_owned(), 1.0), (b.to_owned(), 2.0)];
    assert_eq!(names(["module.a", "module.b"]), pair("a", "b"));
    assert_eq!(names(["_orig_mod.a", "_orig_mod.b"]), pair("a", "b"));
    assert_eq!(
        names(["_orig_mod.module.a", "_orig_mod.module.b"]),
        pair("a", "b")
    );
    assert_eq!(names(["a", "module.b"]), pair("a", "module.b"));
    assert_eq!(
        names(["_orig_mod.a", "module.b"]),
        pair("_orig_mod.a", "module.b")
    );
    for prefix in [
        "model.",
        "backbone.",
        "encoder_q.",
        "module.model.backbone.",
    ] {
        let name = |last: &str| format!("{prefix}{last}");
        assert_eq!(names([&name("a"), &name("b")]), pair("a", "b"));
    }
    // The counter of averaged models is no weight.
    assert_eq!(names(["module.a", "n_averaged"]), [("a".to_owned(), 1.0)]);
    assert_eq!(names(["module.", "module.b"]), pair("module.", "module.b"));
    assert_eq!(names(["modulea", "moduleb"]), pair("modulea", "moduleb"));
}

#[test]
fn names_of_nothing_but_prefixes_take_no_time() {
    let long = "module.".repeat(1 << 18);
    let header = format!(
        r#"{{"{long}a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},
            "{long}b":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}"#
    );
    let folder = Folder::new();
    let path = folder.file("model.safetensors", &safetensors(&header, &[0; 8]));
    let file = WeightsFile::open(path).unwrap();
    // Some are taken off, but not one by one.
    assert!(file.prefix().len() < 100, "{}", file.prefix().len());
    assert_eq!(file.tensors().len(), 2);
}

#[test]
fn doubles_beyond_the_range_of_f32() {
    let folder = Folder::new();
    let header = r#"{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}"#;
    let file = |last: f64| {
        let data: Vec<u8> = [1.0, last].iter().flat_map(|v| v.to_le_bytes()).collect();
        folder.file("model.safetensors", &safetensors(header, &data))
    };
    assert_unreadable(
        &file(-1e300),
        "a",
        "tensor `a` holds -1e300 at element 1, which is beyond the range of f32",
    );
    let error = read_error(&file(f64::INFINITY), "a");
    assert!(
        matches!(error, Error::NonFinite { index: 1, .. }),
        "{error}"
    );
    let largest = WeightsFile::open(file(f64::from(f32::MAX))).unwrap();
    assert_eq!(largest.read_f32("a").unwrap(), [1.0, f32::MAX]);
}

#[test]
fn a_file_without_keys_and_names_without_points() {
    let folder = Folder::new();
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let path = folder.file("model.safetensors", &safetensors(header, &[0; 4]));
    let refused = |key: Option<&str>, prefix: Option<&str>| {
        let error = WeightsFile::open_at(&path, key, prefix).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("model.safetensors"), "{text}");
        text
    };
    let text = refused(Some("model"), None);
    assert!(
        text.contains("--weights-key") && text.contains("`model`"),
        "{text}"
    );
    for prefix in ["student.", "a", ""] {
        let text = refused(None, Some(prefix));
        assert!(text.contains("--weights-prefix"), "{text}");
    }
}

#[test]
fn safetensors_headers_that_contradict_themselves() {
    let a = |rest: &str| format!(r#"{{"a":{{"dtype":"F32",{rest}}}}}"#);
    let cases = [
        // Not a header at all.
        (
            "{".to_owned(),
            "its safetensors header is not valid: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"a":1}"#.to_owned(),
            "its safetensors header is not valid: tensor `a`: invalid type: integer `1`, expected an \
             object with `dtype`, `shape` and `data_offsets` at line 1 column 6",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1]}}"#.to_owned(),
            "its safetensors header is not valid: tensor `a`: missing field `data_offsets` at line \
             1 column 32",
        ),
        (
            r#"{"__metadata__":{"a":1}}"#.to_owned(),
            "its safetensors header is not valid: invalid type: integer `1`, expected a string at \
             line 1 column 22",
        ),
        (
            a(r#""shape":[-1],"data_offsets":[0,4]"#),
            "its safetensors header is not valid: tensor `a`: invalid value: integer `-1`, \
             expected usize at line 1 column 31",
        ),
        (
            r#"{}"#.to_owned(),
            "its tensors take 0 bytes, but the file holds 8 after the header",
        ),
        // Names that stand twice.
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                "a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}"#
                .to_owned(),
            "its safetensors header is not valid: `a` stands twice at line 2 column 69",
        ),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#.to_owned(),
            "its safetensors header is not valid: `__metadata__` stands twice at line 1 column 37",
        ),
        (
            r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(),
            "its safetensors header is not valid: `a` stands twice in `__metadata__` at line 1 \
             column 33",
        ),
        // Sizes.
        (
            a(r#""shape":[3],"data_offsets":[0,8]"#),
            "tensor `a` is f32 of shape [3], which takes 12 bytes, but its data are said to span \
             0..8",
        ),
        (
            a(r#""shape":[2],"data_offsets":[8,0]"#),
            "tensor `a` is f32 of shape [2], which takes 8 bytes, but its data are said to span \
             8..0",
        ),
        (
            a(r#""shape":[4294967296,4294967296],"data_offsets":[0,8]"#),
            "tensor `a` is said to be f32 of shape [4294967296, 4294967296], which is no possible \
             size",
        ),
        (
            a(r#""shape":[9223372036854775807],"data_offsets":[0,8]"#),
            "tensor `a` is said to be f32 of shape [9223372036854775807], which is no possible size",
        ),
        (
            r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#.to_owned(),
            "tensor `a` is said to be f4 of shape [3], which is no possible size",
        ),
        (
            a(r#""shape":[1000000,1000000],"data_offsets":[0,4000000000000]"#),
            "its tensors take 4000000000000 bytes, but the file holds only 8 after the header; \
             perhaps the download is incomplete",
        ),
        (
            a(&format!(
                r#""shape":[{}2],"data_offsets":[0,8]"#,
                "1,".repeat(64)
            )),
            "tensor `a` has 65 dimensions; at most 64 are supported",
        ),
        // Places.
        (
            a(r#""shape":[1],"data_offsets":[0,4]"#),
            "its tensors take 4 bytes, but the file holds 8 after the header",
        ),
        (
            a(r#""shape":[1],"data_offsets":[4,8]"#),
            "tensor `a` begins at byte 4 of the data, but the one before it ends at 0",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#
                .to_owned(),
            "tensor `b` begins at byte 4 of the data, inside the tensor that ends at 8",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                "b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
                .to_owned(),
            "tensor `b` begins at byte 0 of the data, inside the tensor that ends at 8",
        ),
        (
            a(r#""shape":[2],"data_offsets":[18446744073709551607,18446744073709551615]"#),
            "tensor `a` begins at byte 18446744073709551607 of the data, but the one before it ends \
             at 0",
        ),
    ];
    let folder = Folder::new();
    for (header, reason) in cases {
        assert_refused(
            &folder.file("model.safetensors", &safetensors(&header, &[0; 8])),
            reason,
        );
    }

    // The types' names follow, which are the business of the safetensors crate.
    let header = r#"{"a":{"dtype":"F1","shape":[1],"data_offsets":[0,8]}}"#;
    let path = folder.file("model.safetensors", &safetensors(header, &[0; 8]));
    let error = WeightsFile::open(&path).unwrap_err().to_string();
    let start = "its safetensors header is not valid: tensor `a`: unknown variant `F1`, expected";
    assert!(error.contains(start), "{error}");
}

#[test]
fn safetensors_headers_of_impossible_length() {
    let folder = Folder::new();
    let with_length = |length: u64| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(br#"{"a":{}}"#);
        folder.file("model.safetensors", &bytes)
    };
    assert_refused(
        &with_length(9),
        "its safetensors header is said to be 9 bytes long, but the file ends after 8; perhaps the \
         download is incomplete",
    );
    assert_refused(
        &with_length(100_000_000),
        "its safetensors header is said to be 100000000 bytes long, but the file ends after 8; \
         perhaps the download is incomplete",
    );
    for length in [100_000_001, u64::MAX] {
        assert_refused(
            &with_length(length),
            &format!(
                "its safetensors header is said to be {length} bytes long; the format allows \
                 100000000"
            ),
        );
    }
    assert_refused(
        &folder.file("empty", &safetensors("{}", &[])),
        "it holds no tensors",
    );
}

#[test]
fn a_truncated_safetensors_file() {
    let header = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let bytes = safetensors(header, &floats(&ramp(4)));
    let folder = Folder::new();
    assert_refused(
        &folder.file("model.safetensors", &bytes[..bytes.len() - 1]),
        "its tensors take 16 bytes, but the file holds only 15 after the header; perhaps the \
         download is incomplete",
    );
}

#[test]
fn values_that_are_not_finite() {
    let folder = Folder::new();
    let check = |dtype: &str, bytes: &[u8], index: usize, value: &str| {
        let count = bytes.len() / if dtype == "F32" { 4 } else { 2 };
        let header = format!(
            r#"{{"a.b":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[0,{}]}}}}"#,
            bytes.len()
        );
        let path = folder.file("model.safetensors", &safetensors(&header, bytes));
        let error = read_error(&path, "a.b");
        assert!(matches!(error, Error::NonFinite { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "{}: tensor `a.b` holds {value} at element {index}; values must be finite",
                path.display()
            )
        );
    };
    check("F32", &floats(&[0.0, f32::NAN, 1.0]), 1, "NaN");
    check("F32", &floats(&[f32::INFINITY]), 0, "inf");
    check("F16", &[0x00, 0x3c, 0x00, 0xfc], 1, "-inf");
    check("BF16", &[0x80, 0x3f, 0xc0, 0x7f], 1, "NaN");
    // Beyond what is read at once.
    let mut values = vec![1.0; 200_000];
    values[199_999] = f32::NEG_INFINITY;
    check("F32", &floats(&values), 199_999, "-inf");

    let error = read_error(&fixture("nan.pth"), "fc.weight");
    assert!(matches!(error, Error::NonFinite { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{}: tensor `fc.weight` holds NaN at element 4; values must be finite",
            fixture("nan.pth").display()
        )
    );
}

#[test]
fn files_that_change_after_opening() {
    let folder = Folder::new();
    let header = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let path = folder.file("model.safetensors", &safetensors(header, &floats(&ramp(4))));
    let file = WeightsFile::open(&path).unwrap();
    assert_eq!(file.read_f32("a").unwrap(), ramp(4));
    // In place, as opposed to a new file under the same name.
    let opened = fs::OpenOptions::new().write(true).open(&path).unwrap();
    opened.set_len(header.len() as u64 + 12).unwrap();
    assert_eq!(
        file.read_f32("a").unwrap_err().to_string(),
        format!(
            "{}: not a usable weights file: it has become shorter since it was opened",
            path.display()
        )
    );

    for name in ["state_dict.pth", "legacy.pth"] {
        let path = folder.file(name, &fs::read(fixture(name)).unwrap());
        let file = WeightsFile::open(&path).unwrap();
        let opened = fs::OpenOptions::new().write(true).open(&path).unwrap();
        opened.set_len(100).unwrap();
        let error = file.read_f32("fc.weight").unwrap_err();
        assert!(matches!(error, Error::WeightsFormat { .. }), "{error:?}");
        let start = format!(
            "{}: not a usable weights file: it is damaged: tensor 'fc.weight': ",
            path.display()
        );
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

// ---- Other files --------------------------------------------------------------------------------

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    let missing = folder.0.path().join("missing.safetensors");
    let error = WeightsFile::open(&missing).unwrap_err();
    assert!(
        matches!(error, Error::Io { action: "read", .. }),
        "{error:?}"
    );
    let start = format!("cannot read {}: ", missing.display());
    assert!(error.to_string().starts_with(&start), "{error}");

    assert_refused(folder.0.path(), "it is a directory, not a file");
    assert_refused(&folder.file("empty.pth", b""), "it is empty");
    #[cfg(unix)]
    assert_refused(Path::new("/dev/zero"), "it is not a regular file");
}

#[test]
fn files_of_other_kinds_are_named() {
    let cases: [(&[u8], &str); 25] = [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
        (b"GIF89a", "a GIF image"),
        (b"RIFF\x24\0\0\0WEBP", "a RIFF file, such as a WebP image"),
        (b"%PDF-1.7", "a PDF document"),
        (
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            "a gzip file; unpack it first",
        ),
        (b"BZh91AY&SY", "a bzip2 file; unpack it first"),
        (b"\xfd7zXZ\0\0\x04", "an xz file; unpack it first"),
        (b"\x28\xb5\x2f\xfd\x04", "a Zstandard file; unpack it first"),
        (
            b"7z\xbc\xaf\x27\x1c\0\x04",
            "a 7-Zip archive; unpack it first",
        ),
        (
            b"\x89HDF\r\n\x1a\n\0",
            "an HDF5 file, such as Keras weights",
        ),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (
            b"\x08\x08\x12\x07pytorch\x1a\x05",
            "a protocol buffer, such as an ONNX model",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a Git LFS pointer; fetch the real file with `git lfs pull`",
        ),
        (
            b"\n<!DOCTYPE html>\n<html lang=\"en\">",
            "an HTML page, perhaps the error page of a failed download",
        ),
        (
            b"<HTML><head>",
            "an HTML page, perhaps the error page of a failed download",
        ),
        (
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            "an XML document, perhaps the error page of a failed download",
        ),
        (
            b"{\"metadata\": {\"total_size\": 1}}",
            "a JSON text; a checkpoint in several parts is not supported",
        ),
        (
            b"{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\"a\": \"model-00001-of-00002",
            "the index of a checkpoint in several parts, which is not supported; load the parts \
             with PyTorch or safetensors and save them as one file",
        ),
        (
            b"Entry not found\nat all",
            "a text that begins with \"Entry not found\"",
        ),
        (
            "\u{e9}t\u{e9} \u{1f600}".as_bytes(),
            "a text that begins with \"\u{e9}t\u{e9} \u{1f600}\"",
        ),
        (
            b"not one{ of ours",
            "a text that begins with \"not one{ of ours\"",
        ),
        (b"x", "a text that begins with \"x\""),
    ];
    let folder = Folder::new();
    for (bytes, kind) in cases {
        assert_refused(
            &folder.file("model.safetensors", bytes),
            &format!("expected a safetensors or PyTorch file, found {kind}"),
        );
    }

    // A character of several bytes across the end of what is looked at.
    let long = format!("x{}", "\u{e9}".repeat(400));
    assert_refused(
        &folder.file("long", long.as_bytes()),
        &format!(
            "expected a safetensors or PyTorch file, found a text that begins with \"x{}\"",
            "\u{e9}".repeat(59)
        ),
    );
    for bytes in [&b"\0\0\0\0"[..], b"\x01\x02", &[0xff; 600], &[0; 600]] {
        assert_refused(
            &folder.file("unknown", bytes),
            "expected a safetensors or PyTorch file, but its first bytes are those of neither",
        );
    }
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    assert_refused(
        &folder.file("old.pth", &tar),
        "expected a safetensors or PyTorch file, found a TAR archive, as PyTorch before 0.1.10 \
         wrote them; load it with PyTorch and save it again",
    );
}

// ---- PyTorch ------------------------------------------------------------------------------------

#[test]
fn pytorch_files_in_every_layout() {
    for name in [
        "state_dict.pth",
        "legacy.pth",
        "nested.pth",
        "model_key.pth",
        "model_state_dict.pth",
        "flat_with_epoch.pth",
    ] {
        assert_eq!(contents(&fixture(name)), linear(), "{name}");
        let file = WeightsFile::open(fixture(name)).unwrap();
        assert!(file.metadata().is_empty(), "{name}");
    }
    let mut mixed = linear();
    let weight = mixed.remove("fc.weight").unwrap();
    mixed.insert("module.fc.weight".to_owned(), weight);
    assert_eq!(contents(&fixture("one_without_prefix.pth")), mixed);
}

/// A pickled dictionary.
fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"}(".to_vec();
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes.push(b'u');
    bytes
}

/// A PyTorch file of this dictionary.
fn torch(folder: &Folder, entries: &[(&str, Vec<u8>)]) -> PathBuf {
    let pickle = [b"\x80\x02".as_slice(), &dict(entries), b"."].concat();
    folder.file("model.pth", &checkpoint(&pickle))
}

#[test]
fn keys_are_taken_in_order_and_the_others_are_known() {
    let folder = Folder::new();
    let state = |name: &str| dict(&[(name, tensor(b"K\x01\x85", b"K\x01\x85"))]);
    let keys = [
        "state_dict",
        "model",
        "model_state_dict",
        "model_state",
        "net",
        "weights",
        "state_dict_ema",
        "model_ema",
        "ema",
    ];
    let opened = |path: &Path, key: Option<&str>| {
        let file = WeightsFile::open_at(path, key, None).unwrap();
        let names: Vec<&str> = file.tensors().keys().map(String::as_str).collect();
        (
            names.join(" "),
            file.key().unwrap_or_default().to_owned(),
            file.other_keys().join(" "),
        )
    };
    for (index, key) in keys.iter().enumerate() {
        // Behind it, and before it among the entries, whatever comes later in the order.
        let mut entries: Vec<_> = keys[index..].iter().rev().map(|k| (*k, state(k))).collect();
        entries.push(("optimizer", state("exp_avg")));
        let path = torch(&folder, &entries);
        let mut others = keys[index + 1..].to_vec();
        others.sort_unstable();
        let expected = ((*key).to_owned(), (*key).to_owned(), others.join(" "));
        assert_eq!(opened(&path, None), expected);
        assert_eq!(opened(&path, Some("ema")).0, "ema");
        assert_eq!(opened(&path, Some("optimizer")).1, "optimizer");
    }

    // Keys in each other, with a name before them that is not known.
    let inner = dict(&[("state_dict", state("a")), ("ema", state("b"))]);
    let path = torch(&folder, &[("checkpoint", inner)]);
    let (names, key, others) = opened(&path, None);
    assert_eq!(
        [names, key, others],
        ["a", "checkpoint.state_dict", "checkpoint.ema"]
    );
    assert_eq!(opened(&path, Some("checkpoint.ema")).0, "b");
    let inner = dict(&[("state_dict", state("a")), ("ema", state("b"))]);
    let path = torch(&folder, &[("checkpoint", dict(&[("model", inner)]))]);
    let (_, key, others) = opened(&path, None);
    assert_eq!(
        [key, others],
        ["checkpoint.model.state_dict", "checkpoint.model.ema"]
    );
    // A key beside tensors is part of their names.
    let mixed = dict(&[
        ("model", state("a")),
        ("fc", tensor(b"K\x01\x85", b"K\x01\x85")),
    ]);
    let path = torch(&folder, &[("state_dict", mixed)]);
    assert_eq!(opened(&path, None).0, "fc model.a");

    let path = torch(&folder, &[("student", state("a")), ("teacher", state("a"))]);
    assert_eq!(opened(&path, Some("teacher")).0, "a");
    for key in ["ema", "teacher.a", "teacher.", "", "."] {
        let error = WeightsFile::open_at(&path, Some(key), None).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        let text = error.to_string();
        let named = text.contains("`student`, `teacher`") && text.contains("--weights-key");
        assert!(named, "{text}");
    }
    // Names that the key's own could be mistaken for.
    let one = tensor(b"K\x01\x85", b"K\x01\x85");
    let path = torch(&folder, &[("model", state("a")), ("model.a", one)]);
    assert_refused(&path, "two of its tensors are named `model.a`");
}

#[test]
fn pytorch_files_of_other_types() {
    for dtype in ["f16", "bf16", "f64"] {
        let contents = contents(&fixture(&format!("{dtype}.pth")));
        assert_eq!(
            contents,
            [(
                "fc.weight".to_owned(),
                (vec![2, 3], dtype.to_owned(), ramp(6))
            )]
            .into()
        );
    }
    let contents = contents(&fixture("batch_norm.pth"));
    let steps = (vec![], "i64".to_owned(), vec![]);
    assert_eq!(contents["num_batches_tracked"], steps);
    assert_eq!(contents["running_var"].2, [1.0, 1.0]);
    assert_unreadable(
        &fixture("batch_norm.pth"),
        "num_batches_tracked",
        "tensor `num_batches_tracked` is i64; expected f32, f16, bf16 or f64",
    );
}

#[test]
fn views_are_read_row_by_row() {
    let contents = contents(&fixture("transposed.pth"));
    assert_eq!(contents["fc.weight"].0, [3, 2]);
    assert_eq!(contents["fc.weight"].2, [0.0, 1.5, 0.5, 2.0, 1.0, 2.5]);
    assert_eq!(contents["fc.part"].2, [0.5, 2.0]);
}

#[test]
fn a_whole_module_counts_as_its_state_dict() {
    let contents = contents(&fixture("module.pth"));
    assert_eq!(
        contents.keys().collect::<Vec<_>>(),
        [
            "0.bias",
            "0.weight",
            "1.bias",
            "1.num_batches_tracked",
            "1.running_mean",
            "1.running_var",
            "1.weight"
        ]
    );
    assert_eq!(contents["0.weight"].2, ramp(6));
}

#[test]
fn pytorch_files_that_hold_no_weights() {
    let state_dict = "expected a state dict, which is a dictionary of tensors";
    for (name, reason) in [
        (
            "list.pth",
            &*format!("it holds a list or tuple; {state_dict}"),
        ),
        ("int.pth", &format!("it holds an int; {state_dict}")),
        (
            "tensor.pth",
            &format!("it holds a single tensor; {state_dict}"),
        ),
        ("no_tensors.pth", "it holds no tensors"),
        (
            "expanded.pth",
            "tensor `fc.weight` of shape [1048576, 1024] takes 4294967296 bytes, but the whole \
             file has 1584; save a contiguous copy of it",
        ),
        (
            "compressed.pth",
            "its entry `state_dict/data.pkl` is compressed, which torch.save never does; load it \
             with PyTorch and save it again",
        ),
        (
            "torch_script.pt",
            "it is a TorchScript archive, which holds a program; save the model's state_dict() \
             instead",
        ),
    ] {
        assert_refused(&fixture(name), reason);
    }
    let folder = Folder::new();
    assert_refused(
        &folder.file("weights.npz", &archive(&[("fc.weight.npy", b"\x93NUMPY")])),
        "it is a ZIP archive without `data.pkl`, so not one that torch.save wrote",
    );
    let mut named = archive(&[("archive/data.pkl", b"\x80\x02}."), ("archive/data/?", b"")]);
    for byte in named.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0x82;
    }
    assert_refused(
        &folder.file("named.pth", &named),
        "it is a ZIP archive whose entry `archive/data/\u{e9}` is not named in UTF-8",
    );
    assert_refused(
        &folder.file("plain.pkl", b"\x80\x02}X\x01\0\0\0aK\x01s."),
        "it holds no tensors",
    );
}

#[test]
fn code_in_a_pickle_is_refused_and_does_not_run() {
    let refused = "refers to the Python object `posix.system`; only tensors and plain values are \
                   accepted, and no code of a file is run";
    assert_refused(&fixture("code.pth"), &format!("its entry `hook` {refused}"));
    assert_refused(&fixture("code_root.pth"), &format!("it {refused}"));
    // The working directory of the command in the fixtures.
    assert!(!Path::new("weights_file_ran_code").exists());

    let folder = Folder::new();
    let marker = folder.0.path().join("marker");
    let command = format!("touch {}", marker.display());
    let call = [b"cposix\nsystem\n".as_slice(), &text(&command), b"\x85R"].concat();
    let plain = [b"\x80\x02".as_slice(), &call, b"."].concat();
    assert_refused(&folder.file("plain.pkl", &plain), &format!("it {refused}"));

    // In place of the weights, and inside of lists.
    let nested = [b"\x80\x02}".as_slice(), &text("state_dict"), &call, b"s."].concat();
    assert_refused(
        &folder.file("nested.pth", &checkpoint(&nested)),
        &format!("its entry `state_dict` {refused}"),
    );
    let listed = [b"\x80\x02}".as_slice(), &text("a"), b"]", &call, b"as."].concat();
    assert_refused(
        &folder.file("listed.pth", &checkpoint(&listed)),
        &format!("its entry `a.0` {refused}"),
    );

    // Beside the weights it is of no account, and does not run either.
    let beside = [
        b"\x80\x02}(".as_slice(),
        &text("args"),
        &call,
        &text("model"),
        b"}",
        &text("a"),
        &tensor(b"K\x01\x85", b"K\x01\x85"),
        b"su.",
    ]
    .concat();
    let contents = contents(&folder.file("beside.pth", &checkpoint(&beside)));
    assert_eq!(contents["a"].2, [0.0]);
    assert!(!marker.exists());
}

#[test]
fn damaged_pytorch_files() {
    let folder = Folder::new();
    let sound = fs::read(fixture("state_dict.pth")).unwrap();
    assert_refused(
        &folder.file("half.pth", &sound[..sound.len() / 2]),
        "it is a ZIP archive that cannot be read (invalid Zip archive: Could not find EOCD); \
         perhaps the download is incomplete",
    );
    let legacy = fs::read(fixture("legacy.pth")).unwrap();
    assert_refused(
        &folder.file("early.pth", &legacy[..legacy.len() / 2]),
        "its pickle is damaged: it ends too early",
    );
    let path = folder.file("late.pth", &legacy[..legacy.len() - 1]);
    let error = WeightsFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("extends beyond the end of the file"),
        "{error}"
    );

    // A value that is not the one that was saved.
    let at = sound
        .windows(4)
        .position(|bytes| bytes == 2.5_f32.to_le_bytes())
        .unwrap();
    let mut changed = sound.clone();
    changed[at] ^= 1;
    let path = folder.file("changed.pth", &changed);
    let error = read_error(&path, "fc.weight").to_string();
    assert!(error.contains("Invalid checksum"), "{error}");

    for (pickle, reason) in [
        (b"\x80\x02}".as_slice(), "it ends too early"),
        (b"\x80\x02X\x05\0\0\0abc", "it ends too early"),
        (b"\x80\x02cos\nsys", "it ends too early"),
        (b"\x80\x02\xff.", "it has the instruction 0xff"),
        (b"\x80\x02t.", "it takes a mark where there is none"),
        (b"\x80\x02s.", "it takes a value where there is none"),
        (b"\x80\x02(a.", "it takes a value where there is none"),
        (b"\x80\x02h\x07.", "it recalls a value it has not stored"),
        (
            b"\x80\x02gx\n.",
            "it stores or recalls a value by no number",
        ),
    ] {
        let path = folder.file("model.pth", &checkpoint(pickle));
        assert_refused(&path, &format!("its pickle is damaged: {reason}"));
    }

    // A storage that the archive does not have.
    let pickle = [
        b"\x80\x02}".as_slice(),
        &text("a"),
        &tensor(b"K\x01\x85", b"K\x01\x85"),
        b"s.",
    ]
    .concat();
    let path = folder.file("model.pth", &archive(&[("x/data.pkl", &pickle)]));
    assert_unreadable(
        &path,
        "a",
        "it is damaged: tensor 'a': Failed to read storage '0' for tensor with shape [1]: ZIP \
         entry 'x/data/0': not found in archive",
    );
}

#[test]
fn pickles_that_unfold_are_refused() {
    let folder = Folder::new();
    let refused = |pickle: Vec<u8>, reason: &str| {
        let bytes = [b"\x80\x02".as_slice(), &pickle, b"."].concat();
        assert_refused(&folder.file("model.pth", &checkpoint(&bytes)), reason);
        bytes
    };
    let unfolds = "its pickle unfolds into more than 2097152 objects";
    refused(vec![b')'; 2_100_000], unfolds);
    // Each step doubles what the one before has made.
    refused([b"]".to_vec(), b"2\x86".repeat(30)].concat(), unfolds);
    refused(
        [b"]q\0".to_vec(), b"h\0h\0\x86q\0".repeat(30)].concat(),
        unfolds,
    );
    // A tensor of many dimensions, many times.
    let ones = |count: usize| [b"(".to_vec(), b"K\x01".repeat(count), b"t".to_vec()].concat();
    let many = tensor(&ones(5000), &ones(5000));
    refused(
        [many, b"q\0(".to_vec(), b"h\0".repeat(5000), b"l".to_vec()].concat(),
        unfolds,
    );

    let deep = |levels: usize| {
        let into = [b"}".to_vec(), text("a")].concat().repeat(levels);
        [into, b"K\x01".to_vec(), b"s".repeat(levels)].concat()
    };
    let nests = "its pickle nests more than 128 containers in each other";
    let pickle = refused(deep(129), nests);
    // By itself, in a file of the old format, and of other containers.
    assert_refused(&folder.file("plain.pkl", &pickle), nests);
    let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe9\x03.";
    assert_refused(
        &folder.file("legacy.pth", &[magic.as_slice(), &pickle].concat()),
        nests,
    );
    refused([b"]".to_vec(), b"\x85".repeat(129)].concat(), nests);
    refused([b"]".repeat(130), b"a".repeat(129)].concat(), nests);
    refused(deep(128), "it holds no tensors");

    let entry = |shape: &[u8], strides: &[u8]| {
        [
            b"}".to_vec(),
            text("a"),
            tensor(shape, strides),
            b"s".to_vec(),
        ]
        .concat()
    };
    refused(
        entry(&ones(65), &ones(65)),
        "tensor `a` has 65 dimensions; at most 64 are supported",
    );
    // One long key in the name of every tensor.
    let long = [
        b"}".to_vec(),
        text(&"a".repeat(20_000)),
        b"]".to_vec(),
        tensor(b"K\x01\x85", b"K\x01\x85"),
        b"q\0a(".to_vec(),
        b"h\0".repeat(1000),
        b"es".to_vec(),
    ]
    .concat();
    refused(
        long,
        "the names of its tensors take more than 16777216 bytes",
    );
    // Two paths to the same name.
    let one = tensor(b"K\x01\x85", b"K\x01\x85");
    let twice = [
        b"}(".to_vec(),
        text("a.b"),
        one.clone(),
        text("a"),
        b"}".to_vec(),
        text("b"),
        one,
        b"su".to_vec(),
    ]
    .concat();
    refused(twice, "two of its tensors are named `a.b`");
}

#[test]
fn text_from_a_file_stays_on_one_line() {
    let folder = Folder::new();
    let header = r#"{"a\n\u001b[31m":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}"#;
    assert_refused(
        &folder.file("model.safetensors", &safetensors(header, &[0; 4])),
        "tensor `a\\n\\u{1b}[31m` is f32 of shape [3], which takes 12 bytes, but its data are said \
         to span 0..4",
    );
    let long = "b".repeat(10_000);
    let header = format!(r#"{{"{long}":{{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}}}"#);
    assert_refused(
        &folder.file("model.safetensors", &safetensors(&header, &[0; 4])),
        &format!(
            "tensor `{}…` is f32 of shape [3], which takes 12 bytes, but its data are said to span \
             0..4",
            &long[..300]
        ),
    );
}

// ---- Damage at random ---------------------------------------------------------------------------

/// The generator of Steele, Lea and Flood (2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut SplitMix64) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0x00, 0xff, 0x7f, 0x80, b'(', b'.', b'R', b'b'][random.below(8)],
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end.max(at + 1));
            }
            _ => {
                let end = (at + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Opens a file and reads all of it, whatever the outcome; returns whether it opens.
fn read_everything(path: &Path) -> bool {
    let Ok(file) = WeightsFile::open(path) else {
        return false;
    };
    for (name, info) in file.tensors() {
        if let Ok(values) = file.read_f32(name) {
            assert_eq!(values.len(), info.shape.iter().product::<usize>());
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    true
}

#[test]
fn damaged_files_never_panic() {
    let folder = Folder::new();
    let mut samples: Vec<(String, Vec<u8>)> = Vec::new();
    let header = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
        "b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}"#;
    samples.push(("safetensors".to_owned(), safetensors(header, &[0; 22])));
    for name in [
        "state_dict.pth",
        "legacy.pth",
        "nested.pth",
        "module.pth",
        "transposed.pth",
    ] {
        samples.push((name.to_owned(), fs::read(fixture(name)).unwrap()));
    }
    let mut random = SplitMix64(1);
    let path = folder.0.path().join("damaged");
    for (name, sound) in &samples {
        let mut opened = 0;
        for case in 0..700 {
            let mut bytes = sound.clone();
            damage(&mut bytes, &mut random);
            fs::write(&path, &bytes).unwrap();
            match std::panic::catch_unwind(|| read_everything(&path)) {
                Ok(opens) => opened += usize::from(opens),
                Err(_) => panic!("{name}, case {case}"),
            }
        }
        assert!((1..700).contains(&opened), "{name}: {opened} of 700 open");
    }
}

/// Within an archive a checksum guards the pickle, so damage done to the file as a whole does not
/// get far.
#[test]
fn damaged_pickles_in_sound_archives_never_panic() {
    let folder = Folder::new();
    let path = folder.0.path().join("damaged.pth");
    let mut random = SplitMix64(2);
    for name in [
        "state_dict.pth",
        "nested.pth",
        "module.pth",
        "transposed.pth",
        "expanded.pth",
    ] {
        let file = fs::File::open(fixture(name)).unwrap();
        let mut sound = zip::ZipArchive::new(file).unwrap();
        let mut entries = Vec::new();
        for index in 0..sound.len() {
            let mut entry = sound.by_index(index).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            entries.push((entry.name().unwrap().into_owned(), bytes));
        }
        for case in 0..500 {
            let mut entries = entries.clone();
            for (name, bytes) in &mut entries {
                if name.ends_with("data.pkl") {
                    damage(bytes, &mut random);
                }
            }
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
                .collect();
            fs::write(&path, archive(&entries)).unwrap();
            if std::panic::catch_unwind(|| read_everything(&path)).is_err() {
                panic!("{name}, case {case}");
            }
        }
    }
}
