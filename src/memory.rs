//! How much memory a run takes, as the system and the device report it.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Memory in bytes; what a system or a device does not tell is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// What this process holds in main memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resident: Option<u64>,
    /// The most it ever held.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak: Option<u64>,
    /// What live tensors take on the device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_allocated: Option<u64>,
    /// What the device's allocator keeps for this process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_reserved: Option<u64>,
    /// Share of the last second in which a GPU computed, in percent, as NVML reports it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_utilization: Option<u32>,
}

impl Memory {
    /// As it is now.
    pub fn now(device: &Device) -> Self {
        let [resident, peak] = host();
        let pool = device.memory_pool_usage();
        Self {
            resident,
            peak,
            device_allocated: pool.as_ref().map(|pool| pool.bytes_in_use),
            device_reserved: pool.as_ref().map(|pool| pool.bytes_reserved),
            device_utilization: utilization(device),
        }
    }

    /// The most this process ever held in main memory.
    pub fn peak_resident() -> Option<u64> {
        host()[1]
    }
}

/// How busy a GPU is, in percent.
#[cfg(feature = "cuda")]
fn utilization(device: &Device) -> Option<u32> {
    use nvml_wrapper::Nvml;
    use std::sync::OnceLock;

    // Opened once: it takes a moment. Without a driver there is none.
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    let name = crate::device::device_name(&device.clone().without_autodiff());
    let index = name.strip_prefix("cuda:")?.parse().ok()?;
    let nvml = NVML.get_or_init(|| Nvml::init().ok()).as_ref()?;
    let gpu = nvml.device_by_index(index).ok()?;
    gpu.utilization_rates().ok().map(|rates| rates.gpu)
}

#[cfg(not(feature = "cuda"))]
fn utilization(_: &Device) -> Option<u32> {
    None
}

/// What this process holds in main memory.
pub(crate) fn resident() -> Option<u64> {
    host()[0]
}

/// What is resident now, and what was at most.
fn host() -> [Option<u64>; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ["VmRSS:", "VmHWM:"].map(|field| kibibytes(&status, field))
}

/// The value of a field of a file that Linux writes, in bytes.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(field))?;
    let number: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(number * 1024)
}

/// Main memory that could be had without swapping.
pub(crate) fn available() -> Option<u64> {
    kibibytes(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

/// Forgets the peak, so that the next one is that of what follows. `false` where the system does
/// not offer it.
pub(crate) fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes as a person says them.
pub(crate) fn human(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
