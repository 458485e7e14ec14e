//! One request of a push and its answer, with what is repeated.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{RequestBuilder, Url};

use super::reply::{Attempt, Reply, Server, answer};
use super::session::Session;
use crate::http::{cause, without_secrets};
use crate::weights::hub::push_error::PushError;
use crate::weights::hub::repetition::{Failure, Repetitions};

/// The largest answer that is read: one with the addresses of some thousand parts.
const LARGEST: usize = 16 << 20;

impl Session<'_> {
    /// Makes a request until it is answered by a success or a status of `accepted`. `make` gives the
    /// request anew.
    pub async fn call(
        &self,
        step: &str,
        server: Server,
        accepted: &[u16],
        make: impl Fn() -> Result<RequestBuilder, PushError>,
    ) -> Result<Reply, PushError> {
        let still = AtomicU64::new(0);
        self.call_moving(step, server, accepted, &still, make).await
    }

    /// [`call`](Self::call) of a request whose body counts in `moved` what was sent.
    pub async fn call_moving(
        &self,
        step: &str,
        server: Server,
        accepted: &[u16],
        moved: &AtomicU64,
        make: impl Fn() -> Result<RequestBuilder, PushError>,
    ) -> Result<Reply, PushError> {
        let mut repetitions = Repetitions::default();
        loop {
            moved.store(0, Ordering::Relaxed);
            match self.attempt(step, server, accepted, moved, make()?).await {
                Ok(reply) => return Ok(reply),
                Err(attempt) => self.wait_for_next(step, &mut repetitions, attempt).await?,
            }
        }
    }

    /// Makes a request once.
    pub async fn attempt(
        &self,
        step: &str,
        server: Server,
        accepted: &[u16],
        moved: &AtomicU64,
        request: RequestBuilder,
    ) -> Result<Reply, Attempt> {
        let reply = self.exchange(step, moved, request).await?;
        let status = reply.status;
        if (200..300).contains(&status) || accepted.contains(&status) {
            return Ok(reply);
        }
        let said = reply.said().map(|said| self.hub.presentable(&said));
        Err(match status {
            429 => {
                let asked = reply.header("retry-after");
                let asked = asked.and_then(|seconds| seconds.trim().parse().ok());
                let asked = asked.map(Duration::from_secs);
                Attempt::Again(Failure::RateLimited { asked })
            }
            500 | 502 | 503 | 504 => Attempt::Again(Failure::Server { status, said }),
            _ => Attempt::Final(self.refusal(step, server, &reply, said)),
        })
    }

    /// Waits until the next attempt, or says why there is none.
    pub async fn wait_for_next(
        &self,
        step: &str,
        repetitions: &mut Repetitions,
        attempt: Attempt,
    ) -> Result<(), PushError> {
        let failure = match attempt {
            Attempt::Final(error) => return Err(error),
            Attempt::Again(failure) => failure,
        };
        let limits = &self.hub.limits;
        let Some((wait, reason)) = repetitions.next(limits, &failure) else {
            let attempts = repetitions.attempts();
            let step = step.to_owned();
            return Err(match failure {
                Failure::RateLimited { asked } => PushError::RateLimited {
                    step,
                    asked,
                    limit: limits.rate_limit,
                },
                Failure::Server { status, said } => PushError::Status {
                    step,
                    status,
                    said,
                    attempts,
                },
                Failure::Interrupted { reason } => PushError::Interrupted {
                    step,
                    attempts,
                    reason,
                },
            });
        };
        self.tell(super::PushProgress::Retrying { wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn exchange(
        &self,
        step: &str,
        moved: &AtomicU64,
        request: RequestBuilder,
    ) -> Result<Reply, Attempt> {
        let work = async {
            let mut response = request.send().await?;
            let mut reply = Reply {
                status: response.status().as_u16(),
                headers: std::mem::take(response.headers_mut()),
                body: Vec::new(),
            };
            while let Some(piece) = response.chunk().await? {
                reply.body.extend_from_slice(&piece);
                if reply.body.len() > LARGEST {
                    break;
                }
            }
            Ok::<_, reqwest::Error>(reply)
        };
        let mut work = pin!(work);
        // The client's own limit would count the time in which a body is sent as silence.
        let silence = self.hub.limits.silence;
        let mut before = 0;
        loop {
            match tokio::time::timeout(silence, work.as_mut()).await {
                Ok(Ok(reply)) if reply.body.len() > LARGEST => {
                    let found = format!("more than {LARGEST} bytes");
                    return Err(answer(step, "a short one", found).into());
                }
                Ok(result) => return result.map_err(|error| self.client_error(step, &error)),
                Err(_) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == before {
                        let step = step.to_owned();
                        return Err(PushError::TimedOut { step, silence }.into());
                    }
                    before = now;
                }
            }
        }
    }

    fn client_error(&self, step: &str, error: &reqwest::Error) -> Attempt {
        if !error.is_connect() {
            let reason = self.hub.presentable(&cause(error));
            return Attempt::Again(Failure::Interrupted { reason });
        }
        let (server, reason) = self.hub.no_connection(error, &self.hub.endpoint);
        Attempt::Final(PushError::Unreachable {
            step: step.to_owned(),
            server,
            reason,
        })
    }

    /// What a status that is no success means.
    fn refusal(
        &self,
        step: &str,
        server: Server,
        reply: &Reply,
        said: Option<String>,
    ) -> PushError {
        let step = step.to_owned();
        let page = self.hub.tokens_page();
        match (reply.status, server) {
            (401, Server::Hub) => PushError::BadToken { page, said },
            (403, Server::Hub) => PushError::Forbidden {
                step,
                owner: self.owner().to_owned(),
                page,
                said,
            },
            (404, Server::Hub) => PushError::NotFound { step, said },
            (status @ (409 | 412), Server::Hub) => PushError::Conflict { step, status, said },
            (413, _) => PushError::TooLarge { step, said },
            (status @ 300..=399, _) => {
                let to = reply.header("location");
                let to = to.and_then(|to| self.hub.endpoint.join(&to).ok());
                let to = to.map_or(String::new(), |to| format!(" to {}", without_secrets(&to)));
                let reason = self.hub.presentable(&format!("a redirect ({status}){to}"));
                PushError::Redirect { step, reason }
            }
            (status, _) => PushError::Status {
                step,
                status,
                said,
                attempts: 1,
            },
        }
    }

    /// Whether an address is the hub's own, which alone gets the access token.
    pub fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.hub.endpoint.origin()
    }
}
