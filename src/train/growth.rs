//! Memory that grows from step to step.

use crate::memory::human;

/// Notices memory that grows from step to step: eight times in a row, by eight MiB each at least.
#[derive(Debug, Default)]
pub(super) struct Growth {
    last: Option<u64>,
    rises: usize,
    grown: u64,
    told: bool,
}

impl Growth {
    /// Steps between two looks.
    pub const EVERY: usize = 25;
    const RISES: usize = 8;
    const LEAST: u64 = 8 << 20;

    /// Looks at what is held now; says once how much it has grown, if it does not stop growing.
    pub fn look(&mut self, held: Option<u64>) -> Option<String> {
        let held = held?;
        let last = self.last.replace(held)?;
        if held < last + Self::LEAST {
            (self.rises, self.grown) = (0, 0);
            return None;
        }
        self.rises += 1;
        self.grown += held - last;
        if self.told || self.rises < Self::RISES {
            return None;
        }
        self.told = true;
        Some(format!(
            "memory grows from step to step: by {} in the last {} steps, {} now",
            human(self.grown),
            self.rises * Self::EVERY,
            human(held)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Growth;

    #[test]
    fn growth_is_told_once_and_only_if_it_goes_on() {
        let mebibyte = 1u64 << 20;
        let mut growth = Growth::default();
        let mut held = 100 * mebibyte;
        // Growth that stops now and then is none.
        for step in 0..40 {
            held += if step % 7 == 6 { 0 } else { 10 * mebibyte };
            assert_eq!(growth.look(Some(held)), None);
        }
        assert_eq!(growth.look(None), None);
        let mut told = Vec::new();
        for _ in 0..30 {
            held += 9 * mebibyte;
            told.extend(growth.look(Some(held)));
        }
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("200 steps"), "{}", told[0]);
    }
}
