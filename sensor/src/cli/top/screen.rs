//! How `top` looks.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap},
};

use super::model::{Pane, Top};

pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let areas: [Rect; 4] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [head, tabs, body, foot] = areas;
    let [first, second] = top.head();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(vec![Line::styled(first, bold), Line::raw(second)]), head);
    frame.render_widget(Paragraph::new(tab_line(top.pane())), tabs);
    table(frame, top, body);
    frame.render_widget(
        Paragraph::new(top.foot()).style(Style::new().add_modifier(Modifier::REVERSED)),
        foot,
    );
    if let Some((lines, scrolled)) = top.opened() {
        frame.render_widget(Clear, body);
        let lines = lines.iter().map(|line| Line::raw(line.as_str())).collect::<Vec<_>>();
        let popup = Paragraph::new(lines)
            .block(Block::bordered().title(" any key closes, d denies "))
            .wrap(Wrap { trim: false })
            .scroll((scrolled, 0));
        frame.render_widget(popup, body);
    }
}

fn tab_line(shown: Pane) -> Line<'static> {
    let spans = Pane::ALL.iter().enumerate().map(|(at, pane)| {
        let style = match *pane == shown {
            true => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
            false => Style::new(),
        };
        Span::styled(format!(" {} {} ", at + 1, pane.title()), style)
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn table(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let columns = top.pane().columns();
    let (sort, reverse) = top.sorted();
    let header = columns.iter().enumerate().map(|(at, (name, _))| {
        let mark = match (sort == Some(at), reverse) {
            (false, _) => "",
            (true, false) => "↑",
            (true, true) => "↓",
        };
        Cell::from(format!("{name}{mark}"))
    });
    let rows = top.rows().into_iter().map(|row| {
        let cells = row.cells.into_iter().map(|cell| {
            let style = colour(&cell);
            Cell::from(cell).style(style)
        });
        Row::new(cells.collect::<Vec<_>>())
    });
    let widths = columns.iter().map(|&(_, width)| match width {
        0 => Constraint::Min(10),
        width => Constraint::Length(width),
    });
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(Some(top.selected()));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Severities stand out; everything is readable without colours, too.
fn colour(cell: &str) -> Style {
    match cell {
        "critical" => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        "high" => Style::new().fg(Color::Red),
        "medium" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}
