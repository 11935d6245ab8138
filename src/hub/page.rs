//! The playground page, and the module for pages that it is made with.
//!
//! Owns their texts and the tag by which a browser asks whether the module has changed. Refuses to
//! know HTTP, and who is let in.

/// What a browser gets of a bridge that shows its page.
#[derive(Clone, Debug)]
pub struct Page {
    html: String,
    tag: String,
}

impl Page {
    /// With the connection string that the page shows as an argument of `psql`, if any: it is for
    /// everybody's eyes.
    pub fn new(psql_url: Option<&str>) -> Self {
        let line = psql_url.map_or_else(String::new, |url| format!("psql '{}'\n", escaped(url)));
        Self {
            html: HTML.replacen(PSQL_LINE, &line, 1),
            tag: format!("\"{:016x}\"", fnv_1a(MODULE.as_bytes())),
        }
    }

    /// The page.
    pub(super) fn html(&self) -> &str {
        &self.html
    }

    /// The entity tag of the module (RFC 9110, 8.8.3): another module has another one.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }
}

/// For text and for the value of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// Fowler, Noll and Vo's hash: no secret, and no use to anybody who could choose the text.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The module.
pub(super) const MODULE: &str = include_str!("../../clients/js/alle.js");
const HTML: &str = include_str!("../../assets/playground.html");
/// Where the page says how `psql` gets to the same PostgreSQL.
const PSQL_LINE: &str = "<!-- psql -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_a_postgres_only_where_it_was_told_to() {
        assert_eq!(HTML.matches(PSQL_LINE).count(), 1);
        let without = Page::new(None);
        assert!(!without.html().contains("psql '") && !without.html().contains(PSQL_LINE));
        let with = Page::new(Some("postgresql://a@b/<c>?d=\"&e"));
        let expected = "psql 'postgresql://a@b/&lt;c>?d=&quot;&amp;e'\n";
        assert!(with.html().contains(expected));
    }

    #[test]
    fn a_tag_is_quoted_and_another_texts_is_another() {
        let page = Page::new(None);
        let tag = page.tag();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 18);
        assert_ne!(fnv_1a(b"a"), fnv_1a(b"b"));
        // draft-eastlake-fnv, appendix C.
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
