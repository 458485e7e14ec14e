//! What a run may take.

use std::str::FromStr;

/// `2 cores, 10 minutes`: a time, and how many cores compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    pub seconds: f64,
    pub cores: Option<usize>,
}

const EXPECTED: &str = "expected a time and, if wanted, cores, such as '2 cores, 10 minutes'; a time is \
    in seconds, minutes or hours";

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_lowercase();
        let (mut seconds, mut cores) = (None, None);
        for part in text.split(',') {
            let part = part.trim();
            let end = part.find(|c: char| c.is_alphabetic() || c == ' ');
            let (number, unit) = part.split_at(end.unwrap_or(part.len()));
            let length = match unit.trim() {
                "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0),
                "m" | "min" | "mins" | "minute" | "minutes" => Some(60.0),
                "h" | "hour" | "hours" => Some(3600.0),
                "core" | "cores" | "thread" | "threads" | "cpu" | "cpus" => None,
                _ => return Err(EXPECTED.to_owned()),
            };
            let given_twice = match length {
                None => {
                    let count = number.parse().ok().filter(|n| (1..=1024).contains(n));
                    cores.replace(count.ok_or(EXPECTED)?).is_some()
                }
                Some(length) => {
                    let value: f64 = number.parse().map_err(|_| EXPECTED)?;
                    let value = Some(value * length).filter(|s| *s > 0.0 && s.is_finite());
                    seconds.replace(value.ok_or(EXPECTED)?).is_some()
                }
            };
            if given_twice {
                return Err(EXPECTED.to_owned());
            }
        }
        Ok(Self {
            seconds: seconds.ok_or(EXPECTED)?,
            cores,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn times_and_cores_are_read() {
        for (text, seconds, cores) in [
            ("2 cores, 10 minutes", 600.0, Some(2)),
            ("10 minutes", 600.0, None),
            ("1 core,90s", 90.0, Some(1)),
            ("1.5h", 5400.0, None),
            ("30 seconds, 4 cores", 30.0, Some(4)),
            ("5 min", 300.0, None),
            ("2 CPUs, 10 Minutes", 600.0, Some(2)),
        ] {
            let expected = Budget { seconds, cores };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "10",
            "2 cores",
            "ten minutes",
            "0 minutes",
            "-1 h",
            "0 cores, 1 h",
            "5 min, 6 min",
            "2 cores; 10 minutes",
            "3 days",
            "1 ms",
            "5 ss",
            "minutes",
            "inf h",
        ] {
            let error = wrong.parse::<Budget>().unwrap_err();
            assert!(error.starts_with("expected a time"), "{wrong}");
        }
    }
}
