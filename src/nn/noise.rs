//! The random numbers of dropout and stochastic depth, under a training run's control.
//!
//! While a run is inside [`with`], they follow from its seed and the place in it, so that a run that
//! was interrupted goes on with the numbers it would have had, and two runs in one process do not
//! disturb each other. Outside, burn's own generator is used, which `Device::seed` sets.

use std::cell::RefCell;

use burn::tensor::{Device, Distribution, Tensor, TensorData};

use crate::init::Rng;

thread_local! {
    static STREAM: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// Runs something with the stream of this seed and name.
pub(crate) fn with<T>(seed: u64, name: &str, run: impl FnOnce() -> T) -> T {
    /// Ends the stream, also when a panic goes by.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            STREAM.set(None);
        }
    }
    STREAM.set(Some(Rng::new(seed, name)));
    let _end = End;
    run()
}

/// Ones with this probability, else zeros.
pub(crate) fn bernoulli<const D: usize>(
    probability: f64,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    let drawn = STREAM.with_borrow_mut(|stream| {
        let rng = stream.as_mut()?;
        let count = shape.iter().product();
        let draw = || f32::from(u8::from(rng.uniform(0.0, 1.0) < probability));
        Some(
            std::iter::repeat_with(draw)
                .take(count)
                .collect::<Vec<f32>>(),
        )
    });
    match drawn {
        Some(values) => Tensor::from_data(TensorData::new(values, shape), device),
        None => Tensor::random(shape, Distribution::Bernoulli(probability), device),
    }
}
