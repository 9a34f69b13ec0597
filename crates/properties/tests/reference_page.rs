//! The page of all properties is the table's own text. `UPDATE_GOLDEN=1 cargo test -p properties` writes it
//! anew.

use std::path::Path;

#[test]
fn the_reference_page_says_what_the_table_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/properties.md");
    let expected = properties::reference_markdown();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&page, &expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&page).expect("the page can be read");
    assert!(
        found == expected,
        "docs/reference/properties.md is stale: UPDATE_GOLDEN=1 cargo test -p properties"
    );
}
