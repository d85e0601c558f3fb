//! Claims in a `DynamoDB` table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use super::{Claim, ClaimStatus, ClaimStore, OPERATION};
use crate::error::{CallError, SetupError};

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
pub struct ClaimsTable {
    client: Client,
    name: String,
}

impl ClaimsTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Builds an update of a claim's item. `state` and `owner` are reserved words of `DynamoDB`.
    fn update(&self, claim: &Claim, expression: &str) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.name);
        request
            .key("alert_id", text(&claim.alert_id))
            .update_expression(expression)
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(&claim.owner))
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
        match request.send().await {
            Ok(_) => Ok(ClaimStatus::Claimed),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    self.status(claim, failed.item())
                }
                _ => Err(CallError::from_sdk(OPERATION, &self.name, &error)),
            },
        }
    }

    async fn mark_sent(&self, claim: &Claim) -> Result<(), CallError> {
        let set = "SET #state = :sent, #owner = :owner, expires_at = :expires_at";
        let request = self
            .update(claim, set)
            .expression_attribute_values(":sent", text(SENT))
            .expression_attribute_values(":expires_at", number(claim.expires_at.as_second()));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(CallError::from_sdk(OPERATION, &self.name, &error)),
        }
    }

    async fn release(&self, claim: &Claim) -> Result<(), CallError> {
        let request = self
            .update(claim, "SET lease_until = :over")
            .condition_expression("#state = :claimed AND #owner = :owner")
            .expression_attribute_values(":claimed", text(CLAIMED))
            .expression_attribute_values(":over", number(0));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(CallError::from_sdk(OPERATION, &self.name, &error)),
            },
        }
    }
}

impl ClaimsTable {
    /// Derives the status of an alert from the item whose condition rejected the claim.
    fn status(
        &self,
        claim: &Claim,
        item: Option<&HashMap<String, AttributeValue>>,
    ) -> Result<ClaimStatus, CallError> {
        let Some(item) = item else {
            // The item existed a moment ago, so the next call can tell.
            return Err(CallError::Retryable {
                operation: OPERATION,
                code: "no_item".to_owned(),
                message: "a condition failed without the item that failed it".to_owned(),
            });
        };
        let state = item.get("state").and_then(|it| it.as_s().ok()).map(String::as_str);
        let until = item.get("lease_until").and_then(|it| it.as_n().ok()?.parse().ok());
        match (state, until.and_then(|ms| Timestamp::from_millisecond(ms).ok())) {
            (Some(SENT), _) => Ok(ClaimStatus::Sent),
            (Some(CLAIMED), Some(until)) => Ok(ClaimStatus::HeldByOther { until }),
            _ => Err(CallError::Setup(SetupError {
                operation: OPERATION,
                resource: self.name.clone(),
                code: "client".to_owned(),
                message: format!("the item {} is none that this program wrote", claim.alert_id),
            })),
        }
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
