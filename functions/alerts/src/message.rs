//! Messages for the topic, with the attributes that subscribers filter by.

use tributary_aws::sns::Notification;
use tributary_rules::alert::Alert;
use tributary_rules::alert::digest::Digest;

/// Returns the message of one alert.
#[must_use]
pub fn of_alert(alert: &Alert) -> Notification {
    notification(alert, alert.status.as_str(), &alert.title, alert.message.clone())
}

/// Returns the message of many alerts of one rule; `first` is the first of them.
#[must_use]
pub fn of_digest(digest: &Digest, first: &Alert) -> Notification {
    notification(first, "digest", &digest.title, digest.message.clone())
}

fn notification(alert: &Alert, status: &str, title: &str, message: String) -> Notification {
    Notification {
        subject: Notification::subject_of(title),
        message,
        attributes: vec![
            ("severity", alert.severity.as_str().to_owned()),
            ("dataset", alert.dataset.clone()),
            ("rule", alert.rule.clone()),
            ("form", status.to_owned()),
        ],
    }
}
