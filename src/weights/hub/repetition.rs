//! How often a request is repeated, and after what time.

use std::time::Duration;

use super::settings::Limits;

/// How often a request is repeated that the server failed at, and one whose connection broke.
const REPETITIONS: u32 = 3;

/// What may be over by the next attempt.
pub(super) enum Failure {
    /// The hub wants to be left alone for a time.
    RateLimited { asked: Option<Duration> },
    /// The server failed.
    Server { status: u16, said: Option<String> },
    /// The connection broke.
    Interrupted { reason: String },
}

/// What went wrong so far.
#[derive(Default)]
pub(super) struct Repetitions {
    /// For rate limits, in all.
    waited: Duration,
    server_errors: u32,
    interruptions: u32,
    /// The attempts that ended as the last one did.
    attempts: u32,
}

impl Repetitions {
    /// The time until the next attempt, and why there is one; `None` if there were enough.
    pub fn next(&mut self, limits: &Limits, failure: &Failure) -> Option<(Duration, String)> {
        let backoff = |times: u32| limits.backoff.saturating_mul(1 << (times - 1));
        match failure {
            Failure::RateLimited { asked } => {
                // Without a time each wait is as long as all before it, and none is zero.
                let wait = asked.unwrap_or(self.waited).max(backoff(1));
                let wait = wait.max(Duration::from_millis(1));
                // The time comes from the server and may be absurd.
                self.waited = self.waited.saturating_add(wait);
                self.attempts += 1;
                let reason = "the hub limits the number of requests".to_owned();
                (self.waited <= limits.rate_limit).then_some((wait, reason))
            }
            Failure::Server { status, .. } => {
                self.server_errors += 1;
                self.attempts = self.server_errors;
                let reason = format!("the server answered {status}");
                (self.server_errors <= REPETITIONS).then(|| (backoff(self.server_errors), reason))
            }
            Failure::Interrupted { reason } => {
                self.interruptions += 1;
                self.attempts = self.interruptions;
                (self.interruptions <= REPETITIONS)
                    .then(|| (backoff(self.interruptions), reason.clone()))
            }
        }
    }

    /// How many attempts ended as the last one did.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}
