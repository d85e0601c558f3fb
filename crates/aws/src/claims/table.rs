//! Claims in a `DynamoDB` table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use jiff::Timestamp;

use super::{Claim, ClaimStatus, ClaimStore, OPERATION};
use crate::dynamodb::{Attributes, Table, number, string, text, time};
use crate::error::CallError;

const CLAIMED: &str = "claimed";
const SENT: &str = "sent";

/// Table with the text partition key `alert_id`, whose items expire at `expires_at`.
///
/// An item has `alert_id`, `state` (`claimed` or `sent`), `owner`, `lease_until` in milliseconds
/// and `expires_at` in seconds, both since 1970. Every write is an `UpdateItem` with a condition,
/// which `DynamoDB` evaluates in the same step as the write. See
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>
/// and, for expiry, <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html>.
#[derive(Clone, Debug)]
pub struct ClaimsTable(Table);

impl ClaimsTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self(Table { client, name })
    }

    /// Builds an update of a claim's item. `state` and `owner` are reserved words of `DynamoDB`.
    fn update(&self, claim: &Claim, expression: &str) -> UpdateItemFluentBuilder {
        self.0
            .update("alert_id", &claim.alert_id, expression)
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(&claim.owner))
    }

    /// Derives the status of an alert from the item whose condition rejected the claim.
    fn status(&self, claim: &Claim, item: Option<&Attributes>) -> Result<ClaimStatus, CallError> {
        let Some(item) = item else {
            // The item existed a moment ago, so the next call can tell.
            let message = "a condition failed without the item that failed it";
            return Err(CallError::retryable(OPERATION, "no_item", message));
        };
        match (string(item, "state"), time(item, "lease_until")) {
            (Some(SENT), _) => Ok(ClaimStatus::Sent),
            (Some(CLAIMED), Some(until)) => Ok(ClaimStatus::HeldByOther { until }),
            _ => Err(self.0.unreadable(OPERATION, &claim.alert_id)),
        }
    }
}

impl ClaimStore for ClaimsTable {
    async fn claim(&self, claim: &Claim, now: Timestamp) -> Result<ClaimStatus, CallError> {
        let set = "SET #state = :claimed, #owner = :owner, \
                   lease_until = :lease_until, expires_at = :expires_at";
        let free = "attribute_not_exists(alert_id) OR \
                    (#state = :claimed AND (lease_until <= :now OR #owner = :owner))";
        let request = self
            .update(claim, set)
            .condition_expression(free)
            .expression_attribute_values(":claimed", text(CLAIMED))
            .expression_attribute_values(":lease_until", number(claim.lease_until.as_millisecond()))
            .expression_attribute_values(":expires_at", number(claim.expires_at.as_second()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let updated = self.0.updated(OPERATION, request).await?;
        if updated.is_met {
            return Ok(ClaimStatus::Claimed);
        }
        self.status(claim, updated.item.as_ref())
    }

    async fn mark_sent(&self, claim: &Claim) -> Result<(), CallError> {
        let set = "SET #state = :sent, #owner = :owner, expires_at = :expires_at";
        let request = self
            .update(claim, set)
            .expression_attribute_values(":sent", text(SENT))
            .expression_attribute_values(":expires_at", number(claim.expires_at.as_second()));
        self.0.updated(OPERATION, request).await.map(drop)
    }

    async fn release(&self, claim: &Claim) -> Result<(), CallError> {
        let request = self
            .update(claim, "SET lease_until = :over")
            .condition_expression("#state = :claimed AND #owner = :owner")
            .expression_attribute_values(":claimed", text(CLAIMED))
            .expression_attribute_values(":over", number(0));
        self.0.updated(OPERATION, request).await.map(drop)
    }
}
