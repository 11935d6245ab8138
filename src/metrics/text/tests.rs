//! The text of each type of a field, to the letter.

use super::*;

fn page(kind: Kind, label: &'static str) -> Page {
    let mut page = Page::default();
    page.begin(kind, "alle_it", label, "A number.");
    page
}

#[test]
fn a_number_stands_alone() {
    let mut page = page(Kind::Counter, "");
    page.samples("", &u64::MAX);
    let expected = "# HELP alle_it A number.\n\
                    # TYPE alle_it counter\n\
                    alle_it 18446744073709551615\n";
    assert_eq!(page.into_text(), expected);
}

#[test]
fn fields_with_the_same_label_differ_by_its_value() {
    let mut page = page(Kind::Gauge, "part");
    page.samples("whole", &12_usize);
    page.samples("ratio", &0.25);
    page.samples("yes", &true);
    page.samples("no", &false);
    let expected = "# HELP alle_it A number.\n\
                    # TYPE alle_it gauge\n\
                    alle_it{part=\"whole\"} 12\n\
                    alle_it{part=\"ratio\"} 0.25\n\
                    alle_it{part=\"yes\"} 1\n\
                    alle_it{part=\"no\"} 0\n";
    assert_eq!(page.into_text(), expected);
}

#[test]
fn a_tally_has_a_sample_for_each_key() {
    let mut tally = Tally::new([200, 503]);
    tally.add(503);
    let mut page = page(Kind::Counter, "status");
    page.samples("", &tally);
    let expected = "# HELP alle_it A number.\n\
                    # TYPE alle_it counter\n\
                    alle_it{status=\"200\"} 0\n\
                    alle_it{status=\"503\"} 1\n";
    assert_eq!(page.into_text(), expected);
}

#[test]
fn a_histogram_cumulates_its_buckets_in_the_unit_of_the_page() {
    let mut histogram = Histogram::new(&[100, 2_500, 1_000_000], 1e6);
    for value in [0, 1_500, 30_000_000] {
        histogram.observe(value);
    }
    let mut page = page(Kind::Histogram, "");
    page.samples("", &histogram);
    let expected = "# HELP alle_it A number.\n\
                    # TYPE alle_it histogram\n\
                    alle_it_bucket{le=\"0.0001\"} 1\n\
                    alle_it_bucket{le=\"0.0025\"} 2\n\
                    alle_it_bucket{le=\"1\"} 2\n\
                    alle_it_bucket{le=\"+Inf\"} 3\n\
                    alle_it_sum 30.0015\n\
                    alle_it_count 3\n";
    assert_eq!(page.into_text(), expected);
}

#[test]
fn the_build_is_a_constant_with_the_version() {
    let mut page = page(Kind::Gauge, "version");
    page.samples("", &Build);
    let sample = concat!("\nalle_it{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n");
    assert!(page.into_text().ends_with(sample));
}
