//! Messages that failed five times: they go back to the ingest queue.

use anyhow::Result;
use jiff::Timestamp;
use tributary_aws::clients;
use tributary_aws::sqs::{Queue as _, SqsQueue};

use super::Redrive;
use crate::progress::Steps;

impl Redrive<'_> {
    /// Sends each message to the ingest queue, then removes it from the dead-letter queue. If the
    /// process is killed in between, the message is sent twice and its object is read twice, under
    /// the same ids.
    pub(super) async fn dead_letters(&mut self) -> Result<()> {
        let queue = |output: &str| -> Result<SqsQueue> {
            let url = self.stack.output(output)?.to_owned();
            Ok(SqsQueue::new(clients::sqs(self.config), url))
        };
        let (letters, source) = (queue("IngestDeadLetterQueueUrl")?, queue("IngestQueueUrl")?);
        let waiting = letters.message_count().await?;
        if waiting == 0 && !self.arguments.yes {
            return Ok(());
        }
        let place = "ingest queue";
        if !self.arguments.yes {
            let line = self.outcome.line("dead-letters", place);
            line.waiting = waiting;
            return Ok(());
        }
        // A message that fails again may return before the loop ends. It was sent after this time.
        let started = Timestamp::now();
        let mut progress = Steps::new(waiting, "messages");
        let (mut redriven, mut left) = (0, 0);
        while !self.stop.is_wanted() {
            let messages = letters.receive().await?;
            if messages.is_empty() {
                break;
            }
            for message in &messages {
                if message.sent_at.is_some_and(|sent_at| !self.is_in_time(sent_at, started)) {
                    left += 1;
                    continue;
                }
                source.send(message.body.clone()).await?;
                letters.remove(message).await?;
                redriven += 1;
                progress.advance(1);
            }
        }
        progress.finish();
        if redriven + left > 0 {
            let line = self.outcome.line("dead-letters", place);
            (line.waiting, line.redriven, line.left) = (redriven + left, redriven, left);
        }
        Ok(())
    }

    fn is_in_time(&self, sent_at: Timestamp, started: Timestamp) -> bool {
        let arguments = self.arguments;
        sent_at < started
            && arguments.since.is_none_or(|since| sent_at >= since)
            && arguments.until.is_none_or(|until| sent_at < until)
    }
}
