//! One picture: CPU seconds for a gigabyte, a bar for each contender, on a scale of powers of ten.

use crate::{
    contender::Contender,
    figures::{Median, digits},
    record::{Kind, Record},
    targets::cpu_per_gb,
};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0; // of the bars; names are left of it
const BARS: f64 = WIDTH - LEFT - 130.0;
const ROW: f64 = 24.0;

/// The chart as an SVG document.
pub(crate) fn chart(record: &Record) -> String {
    let shapes = record.shapes(Kind::Run);
    let figure = |shape, contender| Median::of(record.of(Kind::Run, shape, contender).map(cpu_per_gb));
    let all: Vec<Median> = shapes
        .iter()
        .flat_map(|shape| Contender::ALL.into_iter().filter_map(|contender| figure(shape, contender)))
        .filter(|median| median.least > 0.0)
        .collect();
    let decade = |value: f64| value.log10();
    let least = all.iter().map(|median| decade(median.least)).fold(0.0, f64::min).floor();
    let most = all.iter().map(|median| decade(median.most)).fold(1.0, f64::max).ceil();
    let across = |value: f64| LEFT + BARS * (decade(value) - least) / (most - least);

    let mut body = String::new();
    let mut y = 30.0;
    for shape in &shapes {
        y += 22.0;
        let _ = writeln!(body, r#"<text class="shape" x="8" y="{y}">{shape}</text>"#);
        y += 8.0;
        for contender in Contender::ALL {
            let Some(median) = figure(shape, contender).filter(|median| median.least > 0.0) else { continue };
            let (middle, end) = (y + ROW / 2.0, across(median.median));
            let class = if contender.is_paralog() { "ours" } else { "theirs" };
            let _ = writeln!(
                body,
                r#"<text x="{x}" y="{text_y}" text-anchor="end">{title}</text>
<rect class="{class}" x="{LEFT}" y="{top}" width="{width:.1}" height="{height}"/>
<path class="range" d="M{from:.1} {middle}H{to:.1}"/>
<text x="{label:.1}" y="{text_y}">{value}</text>"#,
                x = LEFT - 8.0,
                text_y = middle + 4.0,
                title = contender.title(),
                top = y + 3.0,
                width = (end - LEFT).max(1.0),
                height = ROW - 6.0,
                from = across(median.least),
                to = across(median.most),
                label = across(median.most) + 8.0,
                value = digits(median.median),
            );
            y += ROW;
        }
    }
    let height = y + 30.0;
    let mut scale = String::new();
    for power in (least as i32)..=(most as i32) {
        let value = 10f64.powi(power);
        let x = across(value);
        let _ = writeln!(
            scale,
            r#"<path class="scale" d="M{x:.1} 30V{y}"/><text x="{x:.1}" y="{text_y}" text-anchor="middle">{label}</text>"#,
            text_y = y + 16.0,
            label = if power < 0 {
                value.to_string()
            } else {
                digits(value).replace(".00", "").replace(".0", "")
            },
        );
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">
<title>CPU seconds for a gigabyte of the source's log, less is better</title>
<style>
svg {{ background: #fff; font: 13px system-ui, sans-serif; }}
text {{ fill: #333; }} .title, .shape {{ font-weight: 600; }}
.theirs {{ fill: #b8c4d0; }} .ours {{ fill: #2f7d5b; }}
.range {{ stroke: #333; }} .scale {{ stroke: #e4e4e4; }}
</style>
<text class="title" x="8" y="20">CPU seconds for a gigabyte of the source's log; each line to the right is ten times as much</text>
{scale}{body}</svg>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn every_contender_has_a_bar_inside_the_picture_and_all_tags_close() {
        let svg = chart(&example());
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches(r#"class="ours""#).count(), 1);
        for width in svg.split(r#"width=""#).skip(2) {
            let width: f64 = width.split('"').next().unwrap().parse().unwrap();
            assert!(width > 0.0 && width <= BARS, "{width}");
        }
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        assert!(chart(&Record::default()).ends_with("</svg>\n"));
    }
}
