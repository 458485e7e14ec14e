//! Writes a model in the form that timm opens, and opens it again, exactly.
//!
//! `cargo run --release --example export_and_reload [FOLDER]`

mod arguments;

use arguments::Arguments;
use burn_zoo::prelude::*;

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["FOLDER"])?;
    let folder = arguments.text(0).unwrap_or("exported-resnet18");
    let device = Device::default();
    let names = FashionMnist::CLASSES.map(str::to_owned).to_vec();

    let model = Zoo::resnet18()
        .weights(Weights::Random(42))
        .adapt(1, 10)
        .build(&device)?
        .with_classes(names)?;
    model.export(folder)?;

    let again = Classifier::open(folder, &device)?;
    assert_eq!(model.state_dict()?, again.state_dict()?);
    assert_eq!(model.info().classes, again.info().classes);
    println!(
        "{folder} holds {} tensors, all the same",
        again.state_dict()?.len()
    );

    // What is opened can be adapted again: five classes now.
    let five = again.reset_head(5, &Init::xavier_uniform(), 0)?;
    let scores = five.forward(Tensor::zeros([1, 1, 28, 28], &device))?;
    println!("scores {:?}", scores.dims());
    Ok(())
}
