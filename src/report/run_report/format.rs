//! Numbers and names as a reader sees them.

/// A name within a sentence, set apart so that its direction of writing does not turn the rest.
pub(super) fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}

/// A whole number, its digits in groups of three.
pub(super) fn count(value: usize) -> String {
    let digits = value.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A number to four significant digits.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if (-4.0..6.0).contains(&magnitude) {
        let decimals = (3.0 - magnitude).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A loss: to four decimals, so that those of a column stand below each other, if that shows it.
pub(super) fn loss(value: f64) -> String {
    if (1e-3..1e4).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        number(value)
    }
}

/// A share of 0..1 in per cent.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    if share.is_finite() {
        format!("{:.decimals$} %", 100.0 * share)
    } else {
        number(share)
    }
}

/// How sure a model was: never rounded up to certainty.
pub(super) fn probability(value: f64) -> String {
    if (0.9995..1.0).contains(&value) {
        "> 99.9 %".to_owned()
    } else {
        percent(value, 1)
    }
}

/// A learning rate, as it would be typed: two or three digits are meant, the rest is arithmetic.
pub(super) fn rate(value: f64) -> String {
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{exponent}")
        }
        _ => text,
    }
}

/// A position in a run, in epochs, to a hundredth.
pub(super) fn position(epochs: f64) -> String {
    let text = format!("{epochs:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A length of time.
pub(super) fn duration(seconds: f64) -> String {
    if !(0.0..1e9).contains(&seconds) {
        return number(seconds);
    }
    if seconds < 99.5 {
        let decimals = if seconds < 10.0 { 2 } else { 1 };
        return format!("{seconds:.decimals$} s");
    }
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(11_181_642), "11,181,642");
        assert_eq!(number(0.312_345), "0.3123");
        assert_eq!(number(2.345_678), "2.346");
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(1.5e-7), "1.500e-7");
        assert_eq!(
            [0.3, 12.0, 1e-5, 0.0].map(loss),
            ["0.3000", "12.0000", "1.000e-5", "0"]
        );
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::NEG_INFINITY), "−∞");
        assert_eq!(percent(0.93456, 2), "93.46 %");
        assert_eq!(
            [0.99951, 0.9994, 1.0].map(probability),
            ["> 99.9 %", "99.9 %", "100.0 %"]
        );
        assert_eq!(rate(1e-3), "1e-3");
        assert_eq!(rate(9.3e-4), "9.3e-4");
        assert_eq!(rate(3.846_153e-5), "3.85e-5");
        assert_eq!(duration(9.876), "9.88 s");
        assert_eq!(duration(99.6), "1 min 40 s");
        assert_eq!(duration(7384.0), "2 h 03 min");
    }
}
