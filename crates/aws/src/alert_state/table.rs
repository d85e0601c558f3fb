//! What rules remember, in a `DynamoDB` table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use tributary_core::rule::series::{Mark, Marks};

use super::{AlertState, OPERATION};
use crate::error::CallError;

/// What the name of an attribute that holds a mark begins with.
const WINDOW: &str = "w";

/// A table with the partition key `item`, text, whose items expire by `expires_at` (seconds since 1970).
///
/// An item of marks has an attribute `w<number>` for each window, a number. Raising one is an
/// `UpdateItem` whose condition is that it is lower; whether it was or not, the answer has the item. See
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html>.
#[derive(Clone, Debug)]
pub struct AlertStateTable {
    client: Client,
    name: String,
}

impl AlertStateTable {
    /// The table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl AlertState for AlertStateTable {
    async fn raise(&self, mark: &Mark, expires_at: Timestamp) -> Result<Marks, CallError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("item", AttributeValue::S(mark.item.clone()))
            .update_expression("SET #window = :value, expires_at = :expires_at")
            .condition_expression("attribute_not_exists(#window) OR #window < :value")
            .expression_attribute_names("#window", format!("{WINDOW}{}", mark.window))
            .expression_attribute_values(":value", AttributeValue::N(mark.value.to_string()))
            .expression_attribute_values(
                ":expires_at",
                AttributeValue::N(expires_at.as_second().to_string()),
            )
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(answer) => answer.attributes().map(marks).ok_or_else(no_item),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    failed.item().map(marks).ok_or_else(no_item)
                }
                _ => Err(CallError::from_sdk(OPERATION, &self.name, &error)),
            },
        }
    }
}

/// The marks of an item. What is none of them is not ours to read.
fn marks(item: &HashMap<String, AttributeValue>) -> Marks {
    let mark = |(name, value): (&String, &AttributeValue)| {
        let window = name.strip_prefix(WINDOW)?.parse().ok()?;
        Some((window, value.as_n().ok()?.parse().ok()?))
    };
    item.iter().filter_map(mark).collect()
}

/// It was written a moment ago, and the next call finds out.
fn no_item() -> CallError {
    CallError::Plumbing {
        operation: OPERATION,
        code: "no_item".to_owned(),
        message: "an answer without the item that it is about".to_owned(),
    }
}
