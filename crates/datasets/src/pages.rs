//! Pages that explain a feed: the part between two markers is that of the schema.

use crate::Dataset;

/// Marker of the end of the tables.
const END: &str = "<!-- end -->";

/// Returns a page with the tables of the schema and nothing else.
#[must_use]
pub fn new_page(dataset: &Dataset) -> String {
    format!("# The feed `{}`\n\n{}\n", dataset.name(), section(dataset))
}

/// Returns the page with the tables of the schema between its markers, `<!-- schema of NAME -->` and
/// `<!-- end -->`; `None` if the page lacks them.
#[must_use]
pub fn updated_page(dataset: &Dataset, page: &str) -> Option<String> {
    let (before, rest) = page.split_once(&start(dataset))?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{}{after}", section(dataset)))
}

/// Returns the tables of the schema between their markers.
fn section(dataset: &Dataset) -> String {
    format!("{}\n{}{END}", start(dataset), dataset.tables())
}

fn start(dataset: &Dataset) -> String {
    format!("<!-- schema of {} -->", dataset.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shipped;

    #[test]
    fn tables_replace_text_between_markers() {
        let datasets = shipped();
        let flood = datasets.by_name("flood").unwrap();
        let page = "# Flood\n<!-- schema of flood -->\nold <!-- end -->\nmore\n<!-- end -->\n";

        let updated = updated_page(flood, page).unwrap();
        assert!(updated.starts_with("# Flood\n<!-- schema of flood -->\n\n| schema | value |\n"));
        assert!(updated.ends_with("|\n\n<!-- end -->\nmore\n<!-- end -->\n"), "{updated}");
        assert_eq!(updated_page(flood, &updated).as_ref(), Some(&updated));
        assert_eq!(updated_page(flood, &new_page(flood)), Some(new_page(flood)));
        for lacking in ["", "<!-- schema of telemetry --><!-- end -->", "<!-- schema of flood -->"]
        {
            assert_eq!(updated_page(flood, lacking), None, "{lacking}");
        }
    }
}
