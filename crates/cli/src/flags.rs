//! Values of flags that several commands take.

/// A device's name, as far as it can be judged without asking the machine.
pub fn device_name(text: &str) -> Result<String, String> {
    let known = ["auto", "cpu", "cuda", "wgpu", "ndarray"].contains(&text);
    let index = text
        .strip_prefix("cuda:")
        .and_then(|n| n.parse::<usize>().ok());
    match known || index.is_some() {
        true => Ok(text.to_owned()),
        false => Err("expected auto, cpu, cuda, cuda:N, wgpu or ndarray".to_owned()),
    }
}

/// A count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    count::<1_000_000_000>(text)
}

/// A count from one to a limit beyond which it is surely a mistake.
pub fn count<const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(number) if number <= MOST => Ok(number),
        Ok(_) => Err(format!("expected at most {MOST}")),
        Err(_) => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// A side of an image in pixels.
pub fn pixels(text: &str) -> Result<usize, String> {
    count::<16_384>(text)
}

/// A probability below one.
pub fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        _ => Err("expected a number of at least 0 and below 1".to_owned()),
    }
}
