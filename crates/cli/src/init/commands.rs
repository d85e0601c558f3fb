//! Commands to run after `init`, for a shell.

use std::path::Path;

use super::sample::SampledFile;
use super::{Arguments, beside, fixture};
use crate::output::is_stdout;

/// Returns the commands to run next.
pub(super) fn next(
    arguments: &Arguments,
    name: &str,
    file: &SampledFile,
    has_rule: bool,
) -> Vec<String> {
    let (folder, beside) = (quoted(&arguments.config), beside(&arguments.config));
    let files = arguments.files.iter().filter(|file| !is_stdout(file));
    let files: Vec<_> = files.map(|file| quoted(file)).collect();
    // Standard input has been read. The good rows of the sample are in a file, in UTF-8.
    let is_piped = files.is_empty();
    let files = if is_piped {
        quoted(&beside.join(fixture::good_rows(name, file)))
    } else {
        files.join(" ")
    };
    // A header in an encoding that only the dataset declares does not select the dataset.
    let dataset = match file.declared_encoding() {
        Some(_) if !is_piped => format!(" --dataset {name}"),
        _ => String::new(),
    };
    let mut commands = vec![format!("tributary run {files}{dataset} --config {folder}")];
    if has_rule {
        let examples = quoted(&beside.join("fixtures/rules/shipped"));
        for verb in ["check", "test"] {
            commands
                .push(format!("tributary rules {verb} --config {folder} --examples {examples}"));
        }
    }
    commands
}

/// Returns a path as a word of a POSIX shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    // A word that begins with a hyphen would be an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    let is_plain = |it: char| it.is_alphanumeric() || "_-./:=@%+,".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_quoted_where_needed() {
        for (path, word) in [
            ("data/rides-1.csv", "data/rides-1.csv"),
            ("Zähler.csv", "Zähler.csv"),
            ("my rides.csv", "'my rides.csv'"),
            ("it's.csv", r"'it'\''s.csv'"),
            ("$HOME;(1).csv", "'$HOME;(1).csv'"),
            ("~/a.csv", "'~/a.csv'"),
            ("-a.csv", "./-a.csv"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
