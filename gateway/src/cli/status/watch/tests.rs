//! The live view with a terminal in memory: keys, and whole screens as golden files.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::model::{Action, Model, News};
use super::view::draw;
use crate::control::{Command, CommandReply, GatewayStatus};

/// The example of the reference, with more connections.
fn status() -> GatewayStatus {
    let page = include_str!("../../../../../docs/src/reference/admin.md");
    let blocks = page.split("```json\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("\"uptime_seconds\""));
    let reply: CommandReply =
        serde_json::from_str(block.expect("the page has it")).expect("another test reads it");
    let mut status = reply.status.expect("the example has a state");
    let first = status.open[0].clone();
    for number in 2..40_u64 {
        let mut one = first.clone();
        one.id = format!("1a2227ec747-0-{number}");
        one.calling = Some(format!("CT_{number}"));
        one.seconds = 1000 - number;
        one.sealed_bytes = number * 1000;
        status.open.push(one);
    }
    status
}

fn model() -> Model {
    let mut model = Model::new(true);
    model.take(News::State(Box::new(status())));
    model
}

fn press(model: &mut Model, keys: &str) -> Option<Action> {
    let mut last = None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            'v' => KeyCode::Down,
            _ => KeyCode::Char(key),
        };
        last = model.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn terminal(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it has no device");
    let Ok(_) = terminal.draw(|frame| draw(frame, model));
    terminal
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let terminal = terminal(model, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
        let line: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

/// Set `WARDGATE_BLESS=1` to write the current screens.
#[track_caller]
fn assert_screen(name: &str, found: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/screens");
    let path = format!("{folder}/{name}.txt");
    if std::env::var_os("WARDGATE_BLESS").is_some() {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(&path, found).expect("the folder can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{path}:\n{found}");
}

#[test]
fn screens_of_all_tables_are_those_of_the_golden_files() {
    for (width, height) in [(80, 24), (200, 60)] {
        let mut model = model();
        for name in ["routes", "connections", "certificates", "cores", "refusals"] {
            let found = screen(&model, width, height);
            assert_screen(&format!("{name}-{width}x{height}"), &found);
            assert!(
                found
                    .lines()
                    .all(|line| line.chars().count() <= usize::from(width))
            );
            press(&mut model, "\t");
        }
    }
}

#[test]
fn printed_tables_have_80_columns() {
    let text = super::table::text(&status()) + "\n";
    assert_screen("table", &text);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_connection_is_ended_only_after_a_confirmation() {
    let mut model = model();
    assert_eq!(press(&mut model, "e"), None);
    assert!(model.question.is_none(), "a route is no connection");
    assert_eq!(press(&mut model, "2ve"), None);
    assert!(screen(&model, 80, 24).contains("Reset connection 1a2227ec747-0-2?"));
    assert_eq!(press(&mut model, "n"), None);
    assert_eq!(press(&mut model, "y"), None, "the question is gone");
    let connection = "1a2227ec747-0-2".to_owned();
    assert_eq!(
        press(&mut model, "ey"),
        Some(Action::Send(Command::End { connection }))
    );
}

#[test]
fn a_route_is_drained_only_after_a_confirmation() {
    let mut model = model();
    let command = |undo| {
        let route = Some("region-to-pacs".to_owned());
        Some(Action::Send(Command::Drain { route, undo }))
    };
    assert_eq!(press(&mut model, "d\n"), None);
    assert_eq!(press(&mut model, "dy"), command(false));
    assert_eq!(press(&mut model, "uy"), command(true));
    model.take(News::Reply("route drains".to_owned()));
    assert!(screen(&model, 80, 24).contains("route drains"));
}

#[test]
fn typed_text_filters_and_keys_do_nothing_else_meanwhile() {
    let mut model = model();
    assert_eq!(press(&mut model, "2/ct_3q"), None);
    assert!(model.rows().is_empty(), "q is a letter of the filter");
    assert!(screen(&model, 80, 24).contains("filter: ct_3q_"));
    model.on_key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    assert_eq!(press(&mut model, "\n"), None);
    assert_eq!(model.rows().len(), 11, "CT_3 and CT_30 to CT_39");
    press(&mut model, "\u{1b}");
    assert_eq!(model.rows().len(), 39);
    assert_eq!(press(&mut model, "q"), Some(Action::Quit));
}

#[test]
fn rows_are_sorted_by_number_in_both_directions() {
    let mut model = model();
    // ID, ROUTE, SOURCE, APPLICATION, BYTES.
    press(&mut model, "2sssss");
    let moved = |model: &Model| model.rows()[0].key.clone();
    assert_eq!(moved(&model), "1a2227ec747-0-2");
    press(&mut model, "r");
    assert_eq!(moved(&model), "1a2227ec747-0-39");
}

#[test]
fn a_gateway_that_is_gone_is_named_and_the_last_state_stays() {
    let mut model = Model::new(true);
    model.take(News::Lost("no gateway runs there".to_owned()));
    assert!(screen(&model, 80, 24).contains("does not answer, and this view tries again: no"));
    model.take(News::State(Box::new(status())));
    assert!(!screen(&model, 80, 24).contains("does not answer"));
    model.take(News::Lost("it stopped".to_owned()));
    let text = screen(&model, 80, 24);
    assert!(
        text.contains("it stopped") && text.contains("region-to-pacs"),
        "{text}"
    );
}

#[test]
fn any_size_is_drawn_and_no_colour_is_used_without_colours() {
    let mut model = model();
    for (width, height) in [(1, 1), (7, 3), (20, 8), (300, 100)] {
        for _ in 0..5 {
            screen(&model, width, height);
            press(&mut model, "\tv");
        }
    }
    model.has_colour = false;
    let terminal = terminal(&model, 80, 24);
    let cells = terminal.backend().buffer().content();
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
}
