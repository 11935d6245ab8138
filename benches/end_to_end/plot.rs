//! CPU per delivery as something grows, as SVG written by hand: a panel for each thing that grows.

use std::fmt::Write as _;

/// What grows along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Growth {
    Subscribers,
    /// What each client hears, and a transaction notifies.
    Channels,
    /// Notifications in one transaction, on one channel.
    Burst,
}

/// One place on such an axis: the medians, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) growth: Growth,
    pub(crate) at: u64,
    pub(crate) alle: f64,
    pub(crate) floor: f64,
}

/// The whole document, of all that grew; at least one point.
pub(crate) fn svg(points: &[Point]) -> String {
    let panels: Vec<_> = GROWTHS
        .into_iter()
        .map(|(growth, title, axis)| {
            let mut of_it: Vec<_> = points
                .iter()
                .copied()
                .filter(|it| it.growth == growth)
                .collect();
            of_it.sort_by_key(|point| point.at);
            (of_it, title, axis)
        })
        .filter(|(of_it, ..)| !of_it.is_empty())
        .collect();
    let height = PANEL_HEIGHT * f64::from(u8::try_from(panels.len()).unwrap_or(u8::MAX));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>Server CPU per delivery</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut top = 0.0;
    for (of_it, title, axis) in panels {
        let _ = writeln!(svg, "<g transform=\"translate(0 {top})\">");
        panel(&mut svg, &of_it, title, axis);
        svg.push_str("</g>\n");
        top += PANEL_HEIGHT;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Both axes are logarithmic: equal ratios are equal distances.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn panel(svg: &mut String, points: &[Point], title: &str, axis: &str) {
    let all = || points.iter().flat_map(|point| [point.alle, point.floor]);
    let lines = lines(
        all().fold(f64::MAX, f64::min),
        all().fold(0.0_f64, f64::max),
    );
    let [bottom, top] = [lines.first(), lines.last()].map(|it| it.map_or(0.0, |it| it.log10()));
    let [first, last] =
        [points.first(), points.last()].map(|it| it.map_or(0.0, |it| (it.at as f64).log10()));
    let x = |at: u64| {
        let share = ((at as f64).log10() - first) / (last - first).max(f64::MIN_POSITIVE);
        LEFT + share * (RIGHT - LEFT)
    };
    let y = |microseconds: f64| {
        let share = (microseconds.log10() - bottom) / (top - bottom).max(f64::MIN_POSITIVE);
        BOTTOM - share * (BOTTOM - TOP)
    };

    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#222\">{title}</text>"
    );
    for line in &lines {
        let at = y(*line);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{line}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for point in points {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x(point.at),
            BOTTOM + 20.0,
            grouped(point.at)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">{axis}</text>",
        LEFT.midpoint(RIGHT),
        BOTTOM + 42.0
    );
    let floor = points.iter().map(|point| (x(point.at), y(point.floor)));
    curve(svg, "bare loop of writes", "#999", floor, 12.0);
    let alle = points.iter().map(|point| (x(point.at), y(point.alle)));
    curve(svg, "alle", "#0b62a8", alle, 30.0);
}

/// A line with its dots, and its name at height `key`.
fn curve(
    svg: &mut String,
    name: &str,
    color: &str,
    places: impl Iterator<Item = (f64, f64)> + Clone,
    key: f64,
) {
    let path: Vec<_> = places
        .clone()
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    let _ = writeln!(
        svg,
        "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
        path.join("L")
    );
    for (x, y) in places {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"
        );
    }
    let x = RIGHT - 150.0;
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.0} {key:.0}h20\" stroke=\"{color}\" stroke-width=\"2\"/>\
         <text x=\"{:.0}\" y=\"{:.0}\" fill=\"#222\">{name}</text>",
        x + 26.0,
        key + 4.0
    );
}

/// The lines of a scale from `least` to `most`: 1, 2 and 5 of each power of ten that is needed.
fn lines(least: f64, most: f64) -> Vec<f64> {
    let steps: Vec<_> = (-4_i32..4)
        .flat_map(|power| {
            [1_i32, 2, 5].map(|digit| {
                // As it is to be read: 0.05, and not the nearest sum of powers of two.
                format!("{digit}e{power}").parse().unwrap_or(1.0)
            })
        })
        .collect();
    let first = steps.iter().rposition(|step| *step <= least).unwrap_or(0);
    let last = steps.iter().position(|step| *step >= most);
    steps[first..=last.unwrap_or(steps.len() - 1)].to_vec()
}

/// `19,000`.
fn grouped(number: u64) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1_000, number % 1_000)
}

/// The panels from top to bottom, with a title and the name of the axis.
const GROWTHS: [(Growth, &str, &str); 3] = [
    (
        Growth::Subscribers,
        "CPU a delivery (µs), one notification at a time",
        "subscribers",
    ),
    (
        Growth::Channels,
        "CPU a delivery (µs), 100 clients",
        "channels of each client, all notified in one transaction",
    ),
    (
        Growth::Burst,
        "CPU a delivery (µs), 1,000 subscribers",
        "notifications in one transaction",
    ),
];

const WIDTH: f64 = 720.0;
const PANEL_HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 340.0;
