//! Why a file gives no image.

use super::options::DecodeOptions;

/// Why there are no pixels.
pub(super) enum Fault {
    /// A limit, or a kind that is not read: nothing in the file can be put right.
    Refused(String),
    /// The decoder says that the data are not what they should be.
    Damaged(String),
}

impl Fault {
    pub(super) fn reason(self) -> String {
        match self {
            Fault::Refused(reason) | Fault::Damaged(reason) => reason,
        }
    }
}

/// What is said of a file that ends early.
pub(super) const CUT: &str = "the data ends before the image does";

/// Refuses a file that is longer than is allowed.
pub(super) fn check_length(length: u64, limits: &DecodeOptions) -> Result<(), String> {
    if length > limits.max_bytes {
        return Err(format!(
            "the file has {length} bytes or more, the limit (max_bytes) is {}",
            limits.max_bytes
        ));
    }
    Ok(())
}

/// How many pixels there are, unless there are none or too many.
pub(super) fn check_pixels(width: u32, height: u32, limits: &DecodeOptions) -> Result<u64, Fault> {
    let pixels = u64::from(width) * u64::from(height);
    let max_pixels = limits.max_pixels;
    if pixels > max_pixels {
        return Err(Fault::Refused(format!(
            "{width} x {height} are {pixels} pixels, the limit (max_pixels, --max-pixels) is {max_pixels}"
        )));
    }
    if pixels == 0 {
        let reason = format!("{width} x {height} pixels are no image");
        return Err(Fault::Refused(reason));
    }
    Ok(pixels)
}

/// Refuses an image that takes more memory than is allowed.
pub(super) fn check_bytes(
    width: u32,
    height: u32,
    bytes: u64,
    limits: &DecodeOptions,
) -> Result<(), Fault> {
    let max_bytes = limits.max_bytes;
    if bytes > max_bytes {
        return Err(Fault::Refused(format!(
            "{width} x {height} pixels take {bytes} bytes, the limit (max_bytes) is \
             {max_bytes}"
        )));
    }
    Ok(())
}
