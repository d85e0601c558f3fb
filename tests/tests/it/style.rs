//! Style of the code: the part that can be measured.

use system_tests::style::{
    MAX_CLAUSE_PERCENT, doc_openings, is_too_long, misnamed_bounds, opens_with_clause, test_names,
};
use system_tests::{house, repository};

use crate::support::holds;

/// Returns the Rust sources of the repository as (path, text).
fn sources() -> Vec<(String, String)> {
    let files = house::files(&repository()).unwrap().into_iter();
    let sources = files.filter(|path| house::has_extension(path, "rs"));
    let read = |path: String| {
        let text = std::fs::read_to_string(repository().join(&path)).unwrap();
        (path, text)
    };
    sources.map(read).collect()
}

#[test]
fn doc_comments_open_with_verb_or_noun() {
    let sources = sources();
    let openings = || {
        let of = |(path, text): &'_ (String, String)| -> Vec<(String, String)> {
            doc_openings(text).map(|it| (path.clone(), it.to_owned())).collect()
        };
        sources.iter().flat_map(of)
    };

    let all = openings().count();
    let clauses: Vec<_> = openings()
        .filter(|(_, opening)| opens_with_clause(opening))
        .map(|(path, opening)| format!("{path}: {opening}"))
        .collect();

    assert!(all > 1_000);
    let percent = 100 * clauses.len() / all;
    assert!(
        100 * clauses.len() <= MAX_CLAUSE_PERCENT * all,
        "{} of {all} doc comments ({percent} %) open with a clause:\n{}",
        clauses.len(),
        clauses.join("\n")
    );
}

#[test]
fn test_names_have_at_most_eight_words() {
    let sources = sources();
    let names = sources.iter().flat_map(|(path, text)| {
        test_names(text).into_iter().map(move |name| (path.as_str(), name))
    });
    let names: Vec<_> = names.collect();

    assert!(names.len() > 500);
    let long = names.iter().filter(|(_, name)| is_too_long(name));
    holds(&long.map(|(path, name)| format!("{path}: {name}")).collect::<Vec<_>>());
}

#[test]
fn bounds_are_named_max_or_min() {
    let misnamed = sources().into_iter().flat_map(|(path, text)| {
        misnamed_bounds(&text).into_iter().map(|name| format!("{path}: {name}")).collect::<Vec<_>>()
    });

    holds(&misnamed.collect::<Vec<_>>());
}

#[test]
fn style_fault_is_reported() {
    let text = "//! Whether it is.\n\n/// What a window can count.\n/// Whose it is.\nstruct A;\n/// Whatever.\n\
                #[test]\n#[ignore]\nfn a_name() {}\nfn other() {}\n    async fn b() {}\n#[tokio::test]\nasync fn c_d() {}\n";

    let openings: Vec<_> = doc_openings(text).collect();
    assert_eq!(openings, ["Whether it is.", "What a window can count.", "Whatever."]);
    let clauses: Vec<_> = openings.into_iter().map(opens_with_clause).collect();
    assert_eq!(clauses, [true, true, false]);
    assert_eq!(test_names(text), ["a_name", "c_d"]);
    assert!(is_too_long("a_b_c_d_e_f_g_h_i") && !is_too_long("a_b_c_d_e_f_g_h"));
    let bounds = |word: &str| {
        format!("const {word}ROWS: u8 = 1;\npub const MAX_ROWS: u8 = 1;\n// const {word}OLD: u8")
    };
    assert_eq!(misnamed_bounds(&bounds("MOST_")), ["MOST_ROWS"]);
    assert_eq!(misnamed_bounds(&bounds("SHORTEST_")), ["SHORTEST_ROWS"]);
}
