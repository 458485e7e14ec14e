//! Which tensors of a weights file the command takes.

#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/common/state_dict.rs"]
mod state_dict;

use safetensors::{Dtype, tensor::TensorView};
use state_dict::{checkpoint, doubled, prefixed, state};

#[test]
fn the_command_chooses_and_tells() {
    let dir = tempfile::tempdir().unwrap();
    let average = prefixed(&doubled(&state()), "module.");
    let path = checkpoint(
        dir.path(),
        &[("state_dict", &state()), ("state_dict_ema", &average)],
    );
    let input = dir.path().join("input.safetensors");
    let values = vec![0; 4 * 3 * 32 * 32];
    let view = TensorView::new(Dtype::F32, vec![1, 3, 32, 32], &values).unwrap();
    std::fs::write(
        &input,
        safetensors::serialize([("input", view)], None).unwrap(),
    )
    .unwrap();
    let logits = |weights: &str, flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
        command.args(["logits", "test_resnet", "--weights", weights]);
        command.arg("--input").arg(&input);
        command
            .arg("--output")
            .arg(dir.path().join("out.safetensors"))
            .arg("--overwrite");
        let output = command
            .args(flags)
            .env("BURN_DEVICE", "flex")
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), told)
    };
    let file = path.to_str().unwrap();
    let (ok, told) = logits(file, &[]);
    assert!(ok && told.lines().count() == 1, "{told}");
    assert!(
        told.contains("`state_dict`") && told.contains("`state_dict_ema`"),
        "{told}"
    );
    let chosen = [
        "--weights-key",
        "state_dict_ema",
        "--weights-prefix",
        "module.",
    ];
    let (ok, told) = logits(file, &chosen);
    assert!(ok && told.contains("`module.`"), "{told}");
    for (weights, flags) in [
        ("random", ["--weights-key", "model"]),
        ("random", ["--weights-prefix", "model."]),
        (file, ["--weights-key", "model"]),
        (file, ["--weights-prefix", "model."]),
    ] {
        let (ok, told) = logits(weights, &flags);
        assert!(!ok && told.contains(flags[0]), "{told}");
    }
    // What is there stays.
    let output = dir.path().join("kept.txt");
    std::fs::write(&output, "precious").unwrap();
    for (to, flags, expected) in [
        (&output, &[][..], "pass --overwrite"),
        (
            &input,
            &["--overwrite"],
            "another file than those that are read",
        ),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
        command.args(["logits", "test_resnet", "--weights", file, "--input"]);
        command.arg(&input).arg("--output").arg(to).args(flags);
        let refused = command.output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(
            !refused.status.success() && told.contains(expected),
            "{told}"
        );
    }
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "precious");
    assert!(std::fs::metadata(&input).unwrap().len() > 4 * 3 * 32 * 32);
}
