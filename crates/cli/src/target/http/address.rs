//! Address of an HTTP target.

use std::fmt;

/// URL without its trailing slash, such as `https://abc.lambda-url.us-east-1.on.aws`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    /// Parses `http:URL` or a URL. In `http:HOST`, the scheme is http.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why| format!("{text:?} is no target: {why}");
        let url = match text.strip_prefix("http:") {
            Some(rest) if rest.starts_with("http://") || rest.starts_with("https://") => rest,
            Some(rest) if !rest.starts_with("//") => &format!("http://{rest}"),
            _ => text,
        };
        let url = url.trim_end_matches('/');
        let Some((_, rest)) = url.split_once("://") else {
            return Err(wrong("a URL has a scheme and a host"));
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err(wrong("there is no host in it"));
        }
        if host.contains('@') {
            return Err(wrong(
                "a password in the URL would be logged; requests are signed instead",
            ));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['?', '#']) {
            return Err(wrong("items go to URL/v1/<dataset>: no blanks, no ? and no # in it"));
        }
        Ok(Self(url.to_owned()))
    }

    /// Returns the URL for the items of a dataset.
    pub(super) fn of(&self, dataset: &str) -> String {
        format!("{}/v1/{dataset}", self.0)
    }

    /// Returns the region in the host of a function URL, which rejects signatures for any other
    /// region.
    pub(super) fn region(&self) -> Option<&str> {
        let host = self.0.split_once("://")?.1.split(['/', ':']).next()?;
        let (_, rest) = host.split_once(".lambda-url.")?;
        rest.strip_suffix(".on.aws").filter(|region| !region.contains('.'))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_accepts_url_with_or_without_prefix() {
        for (text, url) in [
            ("https://abc.on.aws/", "https://abc.on.aws"),
            ("http:https://abc.on.aws", "https://abc.on.aws"),
            (
                "http://127.0.0.1:4566/_aws/lambda-url/ID/",
                "http://127.0.0.1:4566/_aws/lambda-url/ID",
            ),
            ("http:http://localhost:8080", "http://localhost:8080"),
            ("http:localhost:8080", "http://localhost:8080"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), url, "{text}");
            assert_eq!(address.of("flood"), format!("{url}/v1/flood"));
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "http:",
            "http://",
            "https:",
            "https:abc",
            "http://:80",
            "https://user:secret@host",
            "https://host/?a=b",
            "https://host/#a",
            "https://ho st",
            "https://hóst",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn function_url_contains_region() {
        let region = |text| Address::parse(text).unwrap().region().map(str::to_owned);

        let url = "https://abc.lambda-url.eu-central-1.on.aws/";
        assert_eq!(region(url).as_deref(), Some("eu-central-1"));
        for other in ["https://lambda-url.us-east-1.on.aws", "http://a.lambda-url.x.evil.com"] {
            assert_eq!(region(other), None, "{other}");
        }
    }
}
