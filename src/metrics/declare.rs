//! The macro behind the table: fields and families of one row each.
//!
//! Owns the form of a row; names no metric. A macro because a row has to declare a field: an
//! array indexed by an enum holds plain counters only, and leaves tallies, histograms and gauges
//! a second table.

/// Declares `Metrics`, `Gauges` and `FAMILIES` from rows in the order of the page:
///
/// ```text
/// Kind name {label} "The HELP line." "What the docs add to it."
///     counted {                            fields of `Metrics`, each from its start value:
///         field: Type = start              all samples of the family, or
///         field: Type = start => "value", "what that value of the label means";
///         field: Type = start, less 1 => ..      if the first one does not count on the page
///     };
///     now { field: Type .. };              or fields of `Gauges`, without a start value
/// ```
///
/// A field stays a plain field, so that counting costs one addition. The docs' part of a row is
/// compiled into tests alone.
macro_rules! metrics {
    ($(
        $kind:ident $name:ident $({$label:ident})? $help:literal $($note:literal)?
        $(counted {$(
            $counter:ident: $counter_type:ty = $start:expr $(, less $first:literal)?
            $(=> $counter_value:literal, $counter_meaning:literal)?
        );+})?
        $(now {$(
            $gauge:ident: $gauge_type:ty $(=> $gauge_value:literal, $gauge_meaning:literal)?
        );+})?;
    )+) => {
        /// Counters since the start.
        #[derive(Clone, Debug)]
        pub struct Metrics {$($($(
            #[doc = $help]
            $(#[doc = concat!("`", $counter_value, "`: ", $counter_meaning, ".")])?
            pub $counter: $counter_type,
        )+)?)+}

        impl Default for Metrics {
            fn default() -> Self {
                Self {$($($($counter: $start,)+)?)+}
            }
        }

        /// What there is at this moment.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Gauges {$($($(
            #[doc = $help]
            $(#[doc = concat!("`", $gauge_value, "`: ", $gauge_meaning, ".")])?
            pub $gauge: $gauge_type,
        )+)?)+}

        const FAMILIES: &[Family] = &[$(Family {
            kind: Kind::$kind,
            name: stringify!($name),
            label: stringify!($($label)?),
            help: $help,
            append: |read, page| {
                $($(
                    let number = &read.metrics.$counter$(.saturating_sub($first))?;
                    page.samples(concat!($($counter_value)?), number);
                )+)?
                $($(
                    page.samples(concat!($($gauge_value)?), &read.now.$gauge);
                )+)?
            },
            #[cfg(test)]
            note: concat!($($note)?),
            #[cfg(test)]
            values: &[
                $($($(($counter_value, $counter_meaning),)?)+)?
                $($($(($gauge_value, $gauge_meaning),)?)+)?
            ],
        }),+];
    };
}

pub(super) use metrics;
