//! A plot of the ratios, as SVG.

use std::fmt::Write as _;

use super::report::{Report, label};

/// Positions and lengths are in pixels.
const WIDTH: f64 = 760.0;
const BARS_FROM: f64 = 190.0;
const ROW: f64 = 44.0;
const TOP: f64 = 48.0;
const BAR: f64 = 15.0;
/// The space for the number at the right of a bar.
const NUMBER: f64 = 50.0;

/// The text is dark grey on a white page and light grey on a dark page. The other colours are the same on both.
const STYLE: &str = "text { font: 13px sans-serif; fill: #57606a } .start { fill: #4c8eda } .call { fill: #d97c2b } \
                     line { stroke: #8b949e; stroke-dasharray: 4 3 } \
                     @media (prefers-color-scheme: dark) { text { fill: #adbac7 } }";

/// Two bars for each function: its start and its call, as multiples of those of its bare program.
pub fn svg(report: &Report) -> String {
    let rows: Vec<_> = report
        .rows()
        .filter_map(|(subject, _, compared)| compared.map(|(limit, ratios)| (subject, limit, ratios)))
        .collect();
    let longest = rows.iter().flat_map(|(_, _, ratios)| [ratios.start, ratios.call]).fold(1.0, f64::max);
    let scale = (WIDTH - BARS_FROM - NUMBER) / longest;
    let (one, height) = (BARS_FROM + scale, rows.iter().fold(TOP, |height, _| height + ROW));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Times of functions as multiples of their limits</title>\n<style>{STYLE}</style>\n\
         <rect class=\"start\" x=\"{BARS_FROM}\" y=\"8\" width=\"{BAR}\" height=\"{BAR}\"/>\
         <text x=\"{}\" y=\"20\">start to first answer</text>\n\
         <rect class=\"call\" x=\"{}\" y=\"8\" width=\"{BAR}\" height=\"{BAR}\"/>\
         <text x=\"{}\" y=\"20\">later calls (1 = the bare program)</text>\n\
         <line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{}\" y2=\"{height}\"/>\n",
        BARS_FROM + 22.0,
        BARS_FROM + 170.0,
        BARS_FROM + 192.0,
        TOP - 14.0,
    );
    let mut y = TOP;
    for (subject, limit, ratios) in rows {
        _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{}</text>", y + 12.0, label(subject));
        _ = writeln!(svg, "<text x=\"0\" y=\"{}\" opacity=\"0.7\">beside {}</text>", y + 28.0, limit.program);
        for (class, ratio, y) in [("start", ratios.start, y), ("call", ratios.call, y + BAR + 1.0)] {
            let (length, text_y) = (ratio * scale, y + 12.0);
            _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{BARS_FROM}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>\
                 <text x=\"{:.1}\" y=\"{text_y}\">{ratio:.2}</text>",
                BARS_FROM + length + 6.0
            );
        }
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::report;

    /// The names of the elements that are open at the end, or an error at the first end tag that matches none.
    fn open_elements(svg: &str) -> Result<Vec<&str>, &str> {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').ok_or(tag)?;
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(ended) if open.pop() != Some(ended) => return Err(ended),
                None if !tag.ends_with('/') => open.push(name),
                _ => {}
            }
            if tag.matches('"').count() % 2 != 0 {
                return Err(tag);
            }
        }
        Ok(open)
    }

    #[test]
    fn every_element_is_closed_and_each_function_has_two_bars() {
        let svg = svg(&report());
        assert_eq!(open_elements(&svg), Ok(Vec::new()));
        let functions = report().rows().filter(|(_, _, compared)| compared.is_some()).count();
        assert_eq!(svg.matches("<rect").count(), 2 + 2 * functions);
        assert_eq!(svg.matches(">1.50</text>").count(), 2 * functions);
    }

    #[test]
    fn no_bar_is_wider_than_the_picture() {
        let svg = svg(&report());
        let widths = svg.split("width=\"").skip(1).map(|text| text.split('"').next().unwrap().parse::<f64>().unwrap());
        assert!(widths.fold(0.0, f64::max) <= WIDTH - BARS_FROM - NUMBER + 0.1);
    }
}
