//! Access to a `DynamoDB` table, and the attributes of its items.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::config::http::HttpResponse;
use jiff::Timestamp;

use crate::error::{CallError, SetupError};

pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// Table by name.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// Result of a conditional update.
pub(crate) struct Updated {
    pub(crate) is_met: bool,
    /// Item, where the request asks for it.
    pub(crate) item: Option<Attributes>,
}

impl Table {
    /// Builds an update of the item whose partition key has this name and value.
    pub(crate) fn update(
        &self,
        key: &str,
        item: &str,
        expression: &str,
    ) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.name);
        request.key(key, text(item)).update_expression(expression)
    }

    pub(crate) fn query(&self, condition: &str) -> QueryFluentBuilder {
        self.client.query().table_name(&self.name).key_condition_expression(condition)
    }

    /// Sends an update. Returns the item after it or, if the condition failed, the stored item.
    pub(crate) async fn updated(
        &self,
        operation: &'static str,
        request: UpdateItemFluentBuilder,
    ) -> Result<Updated, CallError> {
        match request.send().await {
            Ok(answer) => Ok(Updated { is_met: true, item: answer.attributes }),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Updated { is_met: false, item: failed.item().cloned() })
                }
                _ => Err(self.failed(operation)(error)),
            },
        }
    }

    /// Returns the mapping of an SDK error.
    pub(crate) fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
        &self,
        operation: &'static str,
    ) -> impl Fn(SdkError<E, HttpResponse>) -> CallError {
        CallError::from_sdk(operation, &self.name)
    }

    /// Returns the setup error of an item that this program did not write.
    pub(crate) fn unreadable(&self, operation: &'static str, key: &str) -> CallError {
        let message = format!("the item {key} is none that this program wrote");
        SetupError::request(operation, &self.name, &message).into()
    }
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

pub(crate) fn string<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(crate) fn integer(item: &Attributes, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Returns the time of an attribute in milliseconds since 1970.
pub(crate) fn time(item: &Attributes, name: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(integer(item, name)?).ok()
}
