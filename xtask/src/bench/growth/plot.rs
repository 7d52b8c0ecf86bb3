//! Cost over a logarithmic axis, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    ChartBuilder, Circle, Color as _, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
    RGBColor, SVGBackend, WHITE,
};

use super::{Fit, Point};
use crate::bench::table::{float, thousands};

/// Pixels.
const SIZE: (u32, u32) = (720, 400);
const MEASURED: RGBColor = RGBColor(31, 119, 180);
const FITTED: RGBColor = RGBColor(150, 150, 150);

/// Draws points and what is fitted to them.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn draw(path: &Path, title: &str, points: &[Point], fit: &Fit) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    let counts = || points.iter().map(|point| point.count);
    let (least, most) = (counts().min().unwrap_or(1), counts().max().unwrap_or(1));
    let highest = points.iter().map(|point| point.nanos).fold(1.0, f64::max) * 1.2;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d((float(least)..float(most) * 1.2).log_scale(), 0.0..highest)
        .map_err(|error| failed(&error))?;
    let fitted = format!("grey: {:+.0} ns for twice as many, fitted", fit.slope);
    chart
        .configure_mesh()
        .x_desc(fitted)
        .y_desc("ns a request")
        .x_label_formatter(&|count| thousands(*count))
        .y_label_formatter(&|nanos| thousands(*nanos))
        .draw()
        .map_err(|error| failed(&error))?;
    let line = [least, most].map(|count| (float(count), fit.at(count)));
    chart.draw_series(LineSeries::new(line, FITTED)).map_err(|error| failed(&error))?;
    let measured = || points.iter().map(|point| (float(point.count), point.nanos));
    chart.draw_series(LineSeries::new(measured(), MEASURED)).map_err(|error| failed(&error))?;
    let dots = measured().map(|at| Circle::new(at, 3, MEASURED.filled()));
    chart.draw_series(dots).map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::{Fit, Point, draw};

    #[test]
    fn points_are_drawn() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let points = [(10, 500.0), (100, 600.0), (1_000, 650.0)];
        let points = points.map(|(count, nanos)| Point { count, nanos });
        draw(file.path(), "A title", &points, &Fit::of(&points)).unwrap();
        let svg = std::fs::read_to_string(file.path()).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("A title"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), points.len());
        assert!(svg.contains("ns for twice as many"));
    }
}
