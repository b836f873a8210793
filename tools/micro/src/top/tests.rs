//! The live view without a terminal: keys and documents in, screens out.

mod hostile;
mod screens;

use super::model::{Input, Look, Model, Place, Screen, Subject, What};
use super::question::{Order, PAGE_MAX, Question, State};
use super::text::Signs;
use super::{draw::draw, once, plain};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde_json::{Value, json};

/// The gateway's time in all scenes.
const AT: u64 = 1_795_000_000_000;
/// Ours: its clock goes wrong by an hour, which must be seen nowhere but in the header.
const NOW: u64 = AT + 3_600_000;

fn model(size: (u16, u16)) -> Model {
    let look = Look { signs: Signs::ASCII, color: false, once: false };
    let question = Question { limit: PAGE_MAX, ..Default::default() };
    Model::new("127.0.0.1:5051".into(), look, question, size, NOW)
}

/// What a gateway says of one node.
fn node(number: usize) -> Value {
    json!({
        "node": format!("{:016x}", 0x0200_0000_0000_0000_u64 + number as u64), "hostname": format!("{number}.micro"),
        "board": "nrf52840dk", "agent_id": "m-S1", "actor": "slave(1)", "state": "registered", "live": true,
        "draining": false, "heard_ms": AT - 3_000, "next_poll_s": 5, "power": { "source": "mains", "percent": null },
        "life_days": null, "cpu": { "total_permille": 1000, "granted_permille": 500, "used_permille": 125 },
        "mem": { "total_bytes": 131_072, "granted_bytes": 32_768, "used_bytes": 12_288 },
        "mailbox": { "commands": 0, "oldest_ms": null },
        "link": { "quality_percent": 98, "uplink_lost_permille": 4, "resent": 2 }, "tasks": 2
    })
}

/// What a gateway with so many nodes answers.
fn fleet(total: usize, question: &Question) -> Value {
    let shown: Vec<Value> =
        (question.offset..total.min(question.offset + question.limit)).map(node).collect();
    json!({
        "at": AT, "total": total, "matching": total, "offset": question.offset,
        "summary": {
            "nodes": total, "live": total, "registered": total, "away": 0, "draining": 0, "battery_low": 0,
            "tasks": { "staging": 1, "starting": 0, "running": 2 * total, "killing": 0, "finished": 7 },
            "cpu": { "total_permille": 1000 * total, "granted_permille": 500 * total, "used_permille": 125 * total },
            "mem": { "total_bytes": 131_072 * total, "granted_bytes": 32_768 * total, "used_bytes": null },
            "mailbox": { "commands": 0, "oldest_ms": null }
        },
        "tenants": [
            { "role": "analytics", "frameworks": 1, "tasks": total, "cpu": { "granted_permille": 300 * total, "used_permille": 100 * total },
              "mem": { "granted_bytes": 16_384 * total, "used_bytes": 8_192 * total } },
            { "role": "lights", "frameworks": 2, "tasks": total, "cpu": { "granted_permille": 200 * total, "used_permille": 25 * total },
              "mem": { "granted_bytes": 16_384 * total, "used_bytes": null } }
        ],
        "nodes": shown
    })
}

/// Three nodes, of which one is well.
fn small() -> Value {
    let mut document = fleet(3, &Question { limit: PAGE_MAX, ..Default::default() });
    let summary = &mut document["summary"];
    (summary["live"], summary["battery_low"]) = (json!(2), json!(1));
    summary["mailbox"] = json!({ "commands": 3, "oldest_ms": AT - 65_000 });
    let low = &mut document["nodes"][1];
    low["power"] = json!({ "source": "battery", "percent": 12 });
    low["life_days"] = json!(41.5);
    low["mailbox"] = json!({ "commands": 3, "oldest_ms": AT - 65_000 });
    low["mem"]["used_bytes"] = json!(40_000);
    let lost = &mut document["nodes"][2];
    (lost["live"], lost["heard_ms"]) = (json!(false), Value::Null);
    (lost["cpu"]["used_permille"], lost["mem"]["used_bytes"]) = (Value::Null, Value::Null);
    lost["link"] = json!({});
    document
}

/// What a gateway says of one node in full.
fn a_node() -> Value {
    let task = |id: &str, state: &str| {
        json!({ "task_id": id, "name": id, "framework_id": "f", "framework": "lights", "role": "lights", "state": state,
                "cpu": { "granted_permille": 250, "used_permille": 60 }, "mem": { "granted_bytes": 16_384, "used_bytes": 6_000, "peak_bytes": 7_000 },
                "received_bytes": 3_000, "total_bytes": 5_000, "updates_waiting": 0, "since_ms": AT - 600_000 })
    };
    json!({ "at": AT, "node": node(0), "attributes": {}, "resources": [], "tenants": [],
            "tasks": [task("blink-1", "TASK_RUNNING"), task("blink-2", "TASK_STAGING")],
            "completed": [task("old", "TASK_FINISHED")], "energy": null, "vitals": null, "history": { "points": [] } })
}

/// What is said of the path that is wanted.
fn say(model: &mut Model, subject: Subject, what: What) {
    let wanted = model.wants().into_iter().find(|(about, _)| *about == subject);
    let path = wanted.and_then(|(_, path)| path).expect("nothing is asked");
    assert!(model.update(Input::News(subject, path, what)).is_continue());
}

/// A gateway with so many nodes answers what is asked.
fn answer(model: &mut Model, total: usize) {
    let document = fleet(total, &model.question);
    say(model, Subject::Fleet, What::Whole(document));
}

/// A key; whether it goes on.
fn press(model: &mut Model, code: KeyCode) -> bool {
    model.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE))).is_continue()
}

fn types(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert!(press(model, KeyCode::Char(c)));
    }
}

fn drawn(model: &Model) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(model: &Model) -> String {
    plain(&drawn(model))
}

#[test]
fn ten_thousand_nodes_are_walked_through_by_pages() {
    let mut model = model((80, 24));
    let mut documents = 0;
    // The gateway answers whatever is asked.
    let mut answers = |model: &mut Model| {
        let asked = model.wants()[0].1.clone();
        loop {
            let path = model.question.path();
            answer(model, 10_000);
            documents += 1;
            if model.question.path() == path {
                break;
            }
        }
        asked
    };
    answers(&mut model);
    let selected = |model: &Model| {
        let screen = screen(model);
        let line = screen.lines().find(|line| line.starts_with('>')).expect("nothing is selected").to_owned();
        u64::from_str_radix(&line[1..17], 16).unwrap() - 0x0200_0000_0000_0000
    };
    for step in 1..=120 {
        press(&mut model, KeyCode::PageDown);
        answers(&mut model);
        let rows = super::layout::rows(&model) as u64;
        assert_eq!(selected(&model), (step * rows).min(9_999));
        assert!(!screen(&model).contains('~'), "a row is missing");
    }
    press(&mut model, KeyCode::Home);
    assert_eq!(model.question.offset, 0, "what is shown is asked for");
    assert!(screen(&model).contains('~'), "it is not there yet");
    answers(&mut model);
    assert_eq!(selected(&model), 0);
    press(&mut model, KeyCode::End);
    let asked = answers(&mut model).unwrap();
    assert!(asked.contains("&limit=200&offset=98"), "{asked}");
    assert_eq!(selected(&model), 9_999);
    assert!(screen(&model).contains("-10000 of 10000 by node"));
}

#[test]
fn an_answer_to_an_earlier_question_is_not_taken() {
    let mut model = model((80, 24));
    let early = model.question.path();
    answer(&mut model, 50);
    types(&mut model, "s/0b");
    assert_eq!((model.question.order, model.question.text.as_str()), (Order::Battery, "0b"));
    let news = Input::News(Subject::Fleet, early, What::Whole(fleet(9, &model.question.clone())));
    assert!(model.update(news).is_continue());
    assert_eq!(model.matching(), 50);
    assert!(screen(&model).contains("/0b_"));
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Char('f'));
    assert_eq!((model.question.state, model.typed.is_none()), (State::Live, true));
    say(&mut model, Subject::Fleet, What::Whole(json!({ "matching": 0, "total": 50 })));
    assert!(screen(&model).contains("no node matches \"0b\", live"));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.question.text, "");
}

#[test]
fn a_fleet_that_shrinks_leaves_something_selected() {
    let mut model = model((80, 24));
    answer(&mut model, 100);
    press(&mut model, KeyCode::End);
    assert_eq!(model.nodes.selected, 99);
    answer(&mut model, 3);
    assert_eq!(model.nodes, Place { selected: 2, top: 0 });
    assert!(screen(&model).contains(">0200000000000002"));
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.wants()[1].1.as_deref(), Some("/view/node/0200000000000002"));
}

#[test]
fn a_lost_gateway_is_told_with_its_age_and_its_reason_and_what_was_known_stays() {
    let mut model = model((80, 24));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    say(&mut model, Subject::Fleet, What::Lost("no gateway at 127.0.0.1:5051".into()));
    model.update(Input::Tick(NOW + 9_000)).continue_value().unwrap();
    say(&mut model, Subject::Fleet, What::Lost("still none\u{1b}[2J".into()));
    let screen_then = screen(&model);
    assert!(screen_then.contains("RECONNECTING for 9s"), "{screen_then}");
    assert!(screen_then.contains("still none?[2J") && screen_then.contains("0200000000000002"));
    assert!(screen_then.contains(" 12s "), "ages go on: {screen_then}");
    say(&mut model, Subject::Fleet, What::Whole(small()));
    assert!(screen(&model).contains("  live  "));
    say(&mut model, Subject::Fleet, What::Whole(json!({ "nodes": 1 })));
    assert!(screen(&model).contains("does not read"));
}

#[test]
fn tenants_that_do_not_fit_are_counted_and_listed_by_their_key() {
    let mut model = model((80, 24));
    let mut document = small();
    let tenant = |number: u32| json!({ "role": format!("role-{number:03}"), "tasks": 1 });
    document["tenants"] = (0..250).map(tenant).collect();
    say(&mut model, Subject::Fleet, What::Whole(document));
    assert!(screen(&model).contains("... 247 more: t"), "{}", screen(&model));
    press(&mut model, KeyCode::Char('t'));
    press(&mut model, KeyCode::End);
    assert!(screen(&model).contains(">role-249"));
    press(&mut model, KeyCode::Esc);
    assert!(screen(&model).contains(">0200000000000000"));
}

#[test]
fn without_colours_there_are_none_and_with_them_words_stay() {
    let mut model = model((140, 40));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    let colored = |model: &Model| {
        drawn(model).content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!colored(&model));
    let without = screen(&model);
    model.look.color = true;
    assert!(colored(&model));
    assert_eq!(screen(&model), without, "nothing is said by a colour alone");
    assert!(without.contains("silent") && without.contains("12%!") && without.contains("39K/32K"));
}

#[test]
fn keys_end_it_or_do_not() {
    let mut model = model((80, 24));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    assert!(press(&mut model, KeyCode::Char('/')));
    assert!(press(&mut model, KeyCode::Char('q')), "it is typed");
    assert!(press(&mut model, KeyCode::Enter));
    assert!(press(&mut model, KeyCode::Char('?')));
    assert!(screen(&model).contains("used beyond the grant"));
    assert!(press(&mut model, KeyCode::Char('x')) && !model.help);
    assert!(!press(&mut model, KeyCode::Char('q')));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(model.update(Input::Key(interrupt)).is_break());
}

#[test]
fn a_frame_for_a_pipe_has_all_nodes_and_no_keys() {
    let mut model = model((1, 1));
    model.look.once = true;
    let mut document = fleet(150, &model.question.clone());
    document["matching"] = json!(1_000);
    say(&mut model, Subject::Fleet, What::Whole(document));
    let frame = once(&mut model, 100);
    assert!(frame.contains("0200000000000095") && frame.contains("... 850 more nodes"));
    assert!(!frame.contains("Enter") && !frame.contains('>') && !frame.contains('\u{1b}'));
    assert!(frame.lines().all(|line| line.len() <= 100));
}
