//! Delivery of one batch, until each item is accepted, rejected or timed out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_smithy_types::body::SdkBody;
use tokio::time::sleep;
use tributary_model::bad_row::shown;

use super::Batch;
use super::answer::{self, Reading, Status, Verdict};
use super::client::{Client, NoAnswer, bytes, same};
use crate::output::eprint_line;
use crate::pace::delays;
use crate::target::tally::{Outcome, Tally};

/// Maximum time without an accepted item of a batch, after which the feed ends. The function may
/// take 28 s for one answer.
const TIMEOUT: Duration = Duration::from_mins(2);

const INITIAL_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Maximum number of rejected items printed one by one.
const MAX_REPORTED: u64 = 5;

/// Batch in delivery.
pub(super) struct Delivery {
    client: Arc<Client>,
    /// Batch without its body.
    batch: Batch,
    lines: SdkBody,
    time_limit: Duration,
    outcome: Outcome,
}

/// Next step after an answer.
enum Next {
    /// All items are finished.
    Done,
    /// Send these items again after a delay.
    Retry(Vec<usize>),
    /// Send the items in two requests.
    Halves,
}

impl Delivery {
    pub(super) fn of(client: Arc<Client>, mut batch: Batch) -> Self {
        let lines = SdkBody::from(std::mem::take(&mut batch.body));
        Self { client, batch, lines, time_limit: TIMEOUT, outcome: Outcome::default() }
    }

    /// Posts the batch, then retries the items that were not accepted. The delays are exponential
    /// with jitter, and at least as long as the answer asks for. Ids are derived from the content
    /// of an item, so that a retry creates no duplicate.
    ///
    /// # Errors
    ///
    /// Fails if requests like this one are never accepted.
    pub(super) async fn run(mut self, tally: &Tally) -> Result<Outcome, String> {
        let mut parts = vec![(0..self.batch.ends.len()).collect::<Vec<_>>()];
        let mut give_up_at = Instant::now() + self.time_limit;
        let delays = || delays(INITIAL_DELAY, MAX_DELAY);
        let mut waits = delays();
        while let Some(part) = parts.pop() {
            let body = self.body(&part);
            let (next, pause) = self.post(&part, &body).await?;
            match &next {
                Next::Retry(again) if again.len() == part.len() => {
                    tally.set_stalled(self.outcome.last_error.clone().unwrap_or_default());
                }
                _ => tally.clear_stalled(),
            }
            match next {
                Next::Done => {}
                Next::Halves => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right.to_vec(), left.to_vec()]);
                    continue;
                }
                Next::Retry(again) => {
                    if again.len() < part.len() {
                        (give_up_at, waits) = (Instant::now() + self.time_limit, delays());
                    }
                    let wait = waits.next().unwrap_or(MAX_DELAY).max(pause.unwrap_or_default());
                    let count = again.len() as u64;
                    parts.push(again);
                    if Instant::now() + wait > give_up_at || tally.has_failed() {
                        break;
                    }
                    self.outcome.retried += count;
                    sleep(wait).await;
                    continue;
                }
            }
            (give_up_at, waits) = (Instant::now() + self.time_limit, delays());
        }
        self.outcome.undelivered = parts.iter().map(|part| part.len() as u64).sum();
        Ok(self.outcome)
    }

    /// Returns the body with these items.
    fn body(&self, part: &[usize]) -> SdkBody {
        let lines = if part.len() == self.batch.ends.len() {
            same(&self.lines)
        } else {
            let lines: Vec<&[u8]> = part.iter().map(|&item| self.line(item)).collect();
            SdkBody::from(lines.concat())
        };
        self.client.body(lines)
    }

    /// Returns an item with its newline.
    fn line(&self, item: usize) -> &[u8] {
        let start = item.checked_sub(1).map_or(0, |before| self.batch.ends[before]);
        &bytes(&self.lines)[start..self.batch.ends[item]]
    }

    async fn post(
        &mut self,
        part: &[usize],
        body: &SdkBody,
    ) -> Result<(Next, Option<Duration>), String> {
        let answer = match self.client.post(&self.batch.dataset, body).await {
            Ok(answer) => answer,
            Err(NoAnswer::Setup(error)) => return Err(error),
            Err(NoAnswer::Transient(error)) => {
                self.outcome.last_error = Some(error);
                return Ok((Next::Retry(part.to_vec()), None));
            }
        };
        let pause = answer::pause(answer.retry_after.as_deref());
        let next = match answer::read(answer.status, &answer.body, part.len()) {
            Reading::Accepted => Next::Done,
            Reading::Items(verdicts) => self.apply_verdicts(part, verdicts, answer.status),
            Reading::Retry(why) => {
                self.outcome.last_error = Some(why);
                Next::Retry(part.to_vec())
            }
            Reading::TooLarge(_) if part.len() > 1 => Next::Halves,
            Reading::TooLarge(why) => {
                self.reject(part[0], "body_too_large", &why);
                Next::Done
            }
            Reading::Refused(why) => return Err(format!("the target refuses: {why}")),
        };
        Ok((next, pause))
    }

    /// Counts rejected items and returns those to send again.
    fn apply_verdicts(&mut self, part: &[usize], verdicts: Vec<Verdict<'_>>, status: u16) -> Next {
        let mut again = Vec::new();
        for (&item, verdict) in part.iter().zip(verdicts) {
            match verdict.status {
                Status::Accepted => {}
                Status::SendAgain => again.push(item),
                Status::Rejected => {
                    let Verdict { code, field, message, .. } = verdict;
                    let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
                    let message = message.as_deref().unwrap_or("no message");
                    let code = code.as_deref().unwrap_or("rejected");
                    self.reject(item, code, &format!("{field}{message}"));
                }
            }
        }
        if again.is_empty() {
            return Next::Done;
        }
        self.outcome.last_error = Some(format!("{status} send_again"));
        Next::Retry(again)
    }

    fn reject(&mut self, item: usize, code: &str, why: &str) {
        *self.outcome.rejected.entry(code.to_owned()).or_default() += 1;
        if self.client.reported.fetch_add(1, Ordering::Relaxed) >= MAX_REPORTED {
            return;
        }
        let number = self.batch.first + item as u64;
        let text = shown(String::from_utf8_lossy(self.line(item)).trim_end());
        eprint_line(&format!("tributary: rejected: record {number}: {code}: {why}: {text}"));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::target::http::Address;

    #[tokio::test]
    async fn items_are_undelivered_after_time_limit() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = Address::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let client = Client::connect(address, false, true).await.unwrap();
        let batch = Batch {
            dataset: "flood".to_owned(),
            first: 1,
            body: b"{}\n{}\n".to_vec(),
            ends: vec![3, 6],
        };
        let mut delivery = Delivery::of(Arc::new(client), batch);
        delivery.time_limit = Duration::from_millis(300);

        let outcome = delivery.run(&Tally::default()).await.unwrap();

        assert_eq!(outcome.undelivered, 2);
        assert!(outcome.last_error.is_some_and(|error| error.contains("refused")));
    }
}
