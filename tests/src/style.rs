//! Style that can be measured: openings of doc comments, lengths of test names, names of bounds.

/// Words that open a clause where a verb or a noun belongs.
const CLAUSE_WORDS: &[&str] = &["What", "Who", "Whom", "Whose", "Where", "Whether", "How"];

/// Maximum number of words in the name of a test.
pub const MAX_TEST_WORDS: usize = 8;

/// Maximum percentage of doc comments that open with a clause.
pub const MAX_CLAUSE_PERCENT: usize = 3;

/// Prefixes that `MAX_` and `MIN_` replace in the names of bounds.
const OTHER_BOUNDS: &[&str] =
    &["MOST_", "LEAST_", "LONGEST", "SHORTEST", "LARGEST", "FEWEST_", "DEEPEST"];

/// Returns the first line of each block of doc comments, without its slashes.
pub fn doc_openings(text: &str) -> impl Iterator<Item = &str> {
    let doc = |line: &str| {
        let line = line.trim_start();
        line.starts_with("///") || line.starts_with("//!")
    };
    let mut before = false;
    text.lines().filter_map(move |line| {
        let is_doc = doc(line);
        let opens = is_doc && !before;
        before = is_doc;
        let content = line.trim_start().get(3..).unwrap_or_default().trim();
        (opens && !content.is_empty()).then_some(content)
    })
}

/// Returns whether the first line of a doc comment opens with a clause: "What a window can count".
#[must_use]
pub fn opens_with_clause(opening: &str) -> bool {
    let word = opening.split([' ', ',']).next().unwrap_or_default();
    CLAUSE_WORDS.contains(&word)
}

/// Returns the names of the tests in a source.
#[must_use]
pub fn test_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) =
            line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")).filter(|_| is_test)
        {
            names.extend(rest.split('(').next());
            is_test = false;
        }
    }
    names
}

/// Returns whether a test's name has too many words.
#[must_use]
pub fn is_too_long(name: &str) -> bool {
    name.split('_').filter(|word| !word.is_empty()).count() > MAX_TEST_WORDS
}

/// Returns the constants whose names state a bound in other words than `MAX_` and `MIN_`.
#[must_use]
pub fn misnamed_bounds(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.filter_map(constant_name);
    names.filter(|name| OTHER_BOUNDS.iter().any(|it| name.starts_with(it))).collect()
}

fn constant_name(line: &str) -> Option<&str> {
    let start = line.find("const ")? + "const ".len();
    line[start..].split([':', '<', ' ']).next()
}
