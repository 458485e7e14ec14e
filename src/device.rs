//! Choosing a device by name.

use burn::tensor::Device;

use crate::error::{Error, Result};

/// The device with this name: `auto`, `cpu`, `cuda`, `cuda:N`, `wgpu` or `ndarray`.
///
/// `auto` is a CUDA device where this build and this machine have one, else the CPU. `cpu` is
/// burn's flex backend (ndarray in a build without it).
///
/// # Errors
/// [`Error::Device`] if the name is unknown, the backend is not in this build, or the machine has
/// no such device.
pub fn device(name: &str) -> Result<Device> {
    device_with(name, &mut |_| {})
}

/// As [`device`], and says to `tell` why `auto` does without an accelerator that this build could
/// use.
///
/// # Errors
/// As [`device`].
pub fn device_with(name: &str, tell: &mut dyn FnMut(&str)) -> Result<Device> {
    let bad = |reason: String| Error::Device {
        device: name.to_owned(),
        reason,
    };
    let absent = |feature: &str| {
        bad(format!(
            "this build lacks it; build with `--features {feature}`"
        ))
    };
    let index = |text: &str| -> Result<usize> {
        text.parse()
            .map_err(|_| bad(format!("expected a number after the colon, found `{text}`")))
    };
    match name.split_once(':').unwrap_or((name, "0")) {
        ("auto", "0") => match cuda(0, "cuda") {
            Some(Ok(device)) => Ok(device),
            without => {
                let found = cpu().ok_or_else(|| absent("flex"))?;
                if let Some(Err(error)) = without {
                    tell(&format!("device: the CPU, as there is no other ({error})"));
                }
                Ok(found)
            }
        },
        ("cpu", "0") => cpu().ok_or_else(|| absent("flex")),
        ("cuda", text) => cuda(index(text)?, name).unwrap_or_else(|| Err(absent("cuda"))),
        ("wgpu", "0") => wgpu(name).unwrap_or_else(|| Err(absent("wgpu"))),
        ("ndarray", "0") => ndarray().ok_or_else(|| absent("ndarray")),
        _ => Err(bad(
            "expected auto, cpu, cuda, cuda:N, wgpu or ndarray".to_owned()
        )),
    }
}

/// The name by which [`device`] finds a device; `other` for one that it does not know.
pub fn device_name(device: &Device) -> String {
    if cpu().is_some_and(|cpu| cpu == *device) {
        return "cpu".to_owned();
    }
    if ndarray().is_some_and(|own| own == *device) {
        return "ndarray".to_owned();
    }
    #[cfg(feature = "cuda")]
    if let Some(index) = (0..MOST_GPUS).find(|index| Device::cuda(*index) == *device) {
        return format!("cuda:{index}");
    }
    #[cfg(feature = "wgpu")]
    if Device::wgpu(burn::tensor::DeviceKind::DefaultDevice) == *device {
        return "wgpu".to_owned();
    }
    "other".to_owned()
}

/// GPUs of the largest machine.
#[cfg(feature = "cuda")]
const MOST_GPUS: usize = 64;

fn cpu() -> Option<Device> {
    #[cfg(feature = "flex")]
    return Some(Device::flex());
    #[cfg(not(feature = "flex"))]
    return ndarray();
}

#[allow(deprecated)] // burn plans to remove ndarray; until then it stays reachable
fn ndarray() -> Option<Device> {
    #[cfg(feature = "ndarray")]
    return Some(Device::ndarray());
    #[cfg(not(feature = "ndarray"))]
    return None;
}

fn cuda(index: usize, name: &str) -> Option<Result<Device>> {
    #[cfg(feature = "cuda")]
    return Some(probe(name, move || Device::cuda(index)));
    #[cfg(not(feature = "cuda"))]
    return {
        let _ = (index, name);
        None
    };
}

fn wgpu(name: &str) -> Option<Result<Device>> {
    #[cfg(feature = "wgpu")]
    return Some(probe(name, || {
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)
    }));
    #[cfg(not(feature = "wgpu"))]
    return {
        let _ = name;
        None
    };
}

/// Computes something small on the device: a driver that is not there makes burn panic on first
/// use, which becomes an error here.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn probe(name: &str, make: impl FnOnce() -> Device + std::panic::UnwindSafe) -> Result<Device> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let made = std::panic::catch_unwind(|| {
        let device = make();
        let one = burn::tensor::Tensor::<1>::ones([1], &device);
        one.into_data();
        device
    });
    std::panic::set_hook(hook);
    made.map_err(|_| Error::Device {
        device: name.to_owned(),
        reason: "this machine has no such device, or its driver does not answer".to_owned(),
    })
}
