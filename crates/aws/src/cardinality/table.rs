//! Sets of hashes in a `DynamoDB` table.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use super::{CardinalityStore, OPERATION};
use crate::dynamodb::{Attributes, Table, number};
use crate::error::CallError;

/// Partition key.
const KEY: &str = "item";

/// Table with the text partition key `item`, whose items expire at `expires_at` (seconds since
/// 1970). The set `known` of an item has eight bytes for each member, so that 10,000 members are a
/// quarter of the maximum size of an item.
///
/// Adding is one `UpdateItem` on the condition that the set has room for all of the new members;
/// the answer has the item in either case. See
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html>.
#[derive(Clone, Debug)]
pub struct CardinalityTable(pub(crate) Table);

impl CardinalityTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self(Table { client, name })
    }
}

impl CardinalityStore for CardinalityTable {
    async fn add(
        &self,
        set: &str,
        new: &BTreeSet<u64>,
        limit: usize,
        expires_at: Timestamp,
    ) -> Result<HashSet<u64>, CallError> {
        let room = i64::try_from(limit.saturating_sub(new.len())).unwrap_or(i64::MAX);
        let blobs = new.iter().map(|member| Blob::new(member.to_be_bytes()));
        let request = self
            .0
            .update(KEY, set, "ADD known :new SET expires_at = :expires_at")
            .condition_expression("attribute_not_exists(known) OR size(known) <= :room")
            .expression_attribute_values(":new", AttributeValue::Bs(blobs.collect()))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let updated = self.0.updated(OPERATION, request).await?;
        let item = updated.item.ok_or_else(no_item)?;
        members(&item).ok_or_else(|| self.0.unreadable(OPERATION, set))
    }
}

fn members(item: &Attributes) -> Option<HashSet<u64>> {
    let member = |blob: &Blob| Some(u64::from_be_bytes(blob.as_ref().try_into().ok()?));
    item.get("known")?.as_bs().ok()?.iter().map(member).collect()
}

/// Error for an answer without the item. It is retryable: the item was there a moment ago.
fn no_item() -> CallError {
    CallError::retryable(OPERATION, "no_item", "an answer without the item that it is about")
}
