//! CPU per delivery over the number of subscribers, as SVG written by hand.

use std::fmt::Write as _;

/// One number of subscribers: the medians, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) clients: usize,
    pub(crate) alle: f64,
    pub(crate) floor: f64,
}

/// The whole document; points by rising number of subscribers.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn svg(points: &[Point]) -> String {
    let most = points
        .iter()
        .map(|point| point.alle.max(point.floor))
        .fold(1.0, f64::max);
    let (step, top) = scale(most);
    let [first, last] = [points.first(), points.last()]
        .map(|point| point.map_or(1.0, |point| point.clients as f64).log10());
    let x = |clients: usize| {
        let share = ((clients as f64).log10() - first) / (last - first).max(f64::MIN_POSITIVE);
        LEFT + share * (RIGHT - LEFT)
    };
    let y = |microseconds: f64| BOTTOM - microseconds / top * (BOTTOM - TOP);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>Server CPU per delivery over the number of subscribers</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#222\">Server CPU per delivery (µs), one \
         notification at a time</text>\n"
    );
    let mut line = 0.0;
    while line <= top + step / 2.0 {
        let at = y(line);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{line}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        line += step;
    }
    for point in points {
        let at = x(point.clients);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            BOTTOM + 20.0,
            grouped(point.clients)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">subscribers</text>",
        LEFT.midpoint(RIGHT),
        BOTTOM + 42.0
    );
    let floor = points
        .iter()
        .map(|point| (x(point.clients), y(point.floor)));
    curve(&mut svg, "bare loop of writes", "#999", floor, 48.0);
    let alle = points.iter().map(|point| (x(point.clients), y(point.alle)));
    curve(&mut svg, "alle", "#0b62a8", alle, 68.0);
    svg.push_str("</svg>\n");
    svg
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

/// A round step, and the first multiple of it that leaves room above `most` for the names.
fn scale(most: f64) -> (f64, f64) {
    let top = most * 1.3;
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let step = steps
        .into_iter()
        .find(|step| top / step <= 8.0)
        .unwrap_or(top / 8.0);
    (step, (top / step).ceil() * step)
}

/// `19,000`.
fn grouped(number: usize) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1_000, number % 1_000)
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 340.0;
