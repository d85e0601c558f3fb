//! Scheduled run: sends due no-data alerts, one in each cooldown of their key.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::claims::ClaimStore;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::put::BatchPut;
use tributary_aws::sns::Notification;
use tributary_rules::alert::AlertOutcome;

use crate::handler::{Alerts, add_counts, matched_counts};
use crate::no_data::groups;

impl<C, S, T, Q> Alerts<C, S, T, Q>
where
    C: ClaimStore,
    S: AlertState,
    T: BatchPut<Entry = Notification>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Sends due no-data alerts, which no event can trigger, and then marks them as sent. An alert
    /// in cooldown is postponed to the end of it. One that is not sent for another reason is due in
    /// the next run.
    pub(crate) async fn run_scheduled(
        &self,
        owner: &str,
        deadline: Deadline,
    ) -> Result<(), InvocationError> {
        let now = (self.clock)();
        let (rules, refresh) = self.rules.current(now, deadline).await;
        self.count_refresh(refresh);
        if rules.iter().all(|rule| rule.absent().is_none()) {
            return Ok(());
        }
        let groups = groups(self.state.due(&rules, now, deadline.half_way()).await?);
        let in_cooldown = self.state.check_cooldowns(&groups, now, deadline.half_way()).await?;
        let is_postponed: BTreeSet<_> =
            in_cooldown.postponed.iter().map(|(index, _)| *index).collect();
        let pending = groups.iter().enumerate();
        let (to_send, later): (Vec<_>, Vec<_>) = pending
            .map(|(index, group)| self.pending_alert(index, group.alert.clone()))
            .partition(|it| {
                !is_postponed.contains(&it.position)
                    && !in_cooldown.unconfirmed.contains(&it.position)
            });

        let mut counts = matched_counts(to_send.iter().chain(&later));
        // Groups that are due in different cooldowns can share an alert id.
        let alerts: BTreeMap<_, _> =
            to_send.iter().map(|pending| (pending.position, pending.alert.alert_id)).collect();
        let mut sent = self.sender(owner, deadline).send(to_send).await?;
        for pending in &later {
            if is_postponed.contains(&pending.position) {
                sent.record(&pending.alert, AlertOutcome::Cooled);
            } else {
                sent.record_undelivered(pending);
            }
        }
        let ids = |position: &usize| alerts.get(position);
        let unsent: BTreeSet<_> = sent.undelivered.iter().filter_map(ids).collect();
        let (mut notified, mut postponed) = (Vec::new(), Vec::new());
        for (index, _) in alerts.iter().filter(|(_, id)| !unsent.contains(id)) {
            notified
                .extend(groups.get(*index).into_iter().flat_map(|group| group.entities.clone()));
        }
        for (index, until) in &in_cooldown.postponed {
            postponed.extend(groups.get(*index).into_iter().flat_map(|group| group.until(*until)));
        }
        self.state.mark_sent(&notified, deadline).await;
        self.state.postpone(&postponed, self.retention, deadline).await;

        let (notified, unsent, postponed) =
            (notified.len(), sent.undelivered.len(), postponed.len());
        let names = "a round of silences";
        info!(
            silences.told = notified,
            silences.untold = unsent,
            silences.put_off = postponed,
            "{names}"
        );
        add_counts(&mut counts, sent.counts);
        self.metrics_log.write_alert_counts(&counts, (self.clock)());
        let last_error = sent.last_error.or(in_cooldown.last_error);
        match last_error.filter(|_| unsent > 0) {
            None => Ok(()),
            Some(message) => {
                let code = "undelivered".to_owned();
                Err(CallError::Retryable { operation: OPERATION, code, message }.into())
            }
        }
    }
}
