//! Whole screens, to the letter.

use super::*;

/// What the screen must be, trailing blanks left out.
fn assert_screen(model: &Model, expected: &str) {
    let screen = screen(model);
    assert_eq!(screen.trim_end(), expected.trim_matches('\n'), "\n{screen}");
}

#[test]
fn a_small_fleet_on_a_small_terminal() {
    let mut model = model((80, 24));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    press(&mut model, KeyCode::Down);
    assert_screen(
        &model,
        r#"
micro top  127.0.0.1:5051  live                          2026-11-18 12:06:40 UTC
nodes 2 live of 3, 1 low battery   tasks 6 running, 1 starting
cpu [##======........] 0.37 used, 1.50 granted of 3.00   mailbox 3, oldest 65s
mem [====............] - used, 96K granted of 384K
tenant (role)       frameworks tasks cpu      used/granted memory   used/granted
analytics                    1     3 ###=====    0.30/0.90 ####====      24K/48K
lights                       2     3 #=======    0.07/0.60 ========        -/48K
 node             state      cpu use/gr/all mem use/gr/all tasks power seen link
 0200000000000000 live       0.12/0.50/1.00   12K/32K/128K     2 mains   3s  98%
>0200000000000001 live       0.12/0.50/1.00   39K/32K/128K     2  12%!   3s  98%
 0200000000000002 silent        -/0.50/1.00     -/32K/128K     2 mains    -    -












1-3 of 3 by node   Enter: open  s: sort  /: find  f: state  ?: help  q: quit
"#,
    );
}

#[test]
fn a_small_fleet_on_a_wide_terminal() {
    let mut model = model((140, 40));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    model.look.signs = Signs::UNICODE;
    assert_screen(
        &model,
        r#"
micro top  127.0.0.1:5051  live                                                                                      2026-11-18 12:06:40 UTC
nodes 2 live of 3, 1 low battery   tasks 6 running, 1 starting
cpu [████▒▒▒▒▒▒▒▒▒▒··············] 0.37 used, 1.50 granted of 3.00   mailbox 3, oldest 65s
mem [▒▒▒▒▒▒▒·····················] - used, 96K granted of 384K
tenant (role)                            frameworks   tasks cpu                            used/granted memory                  used/granted
analytics                                         1       3 ██████████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒    0.30/0.90 ████████████▒▒▒▒▒▒▒▒▒▒▒      24K/48K
lights                                            2       3 ████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒    0.07/0.60 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒        -/48K
 node             state       board      cpu      cpu use/gr/all memory   mem use/gr/all tasks power life seen link mailbox hostname
>0200000000000000 live        nrf52840dk █▒▒▒···· 0.12/0.50/1.00 █▒······   12K/32K/128K     2 mains    -   3s  98%       0 0.micro
 0200000000000001 live        nrf52840dk █▒▒▒···· 0.12/0.50/1.00 ██!·····   39K/32K/128K     2  12%!  41d   3s  98%   3 65s 1.micro
 0200000000000002 silent      nrf52840dk ▒▒▒▒····    -/0.50/1.00 ▒▒······     -/32K/128K     2 mains    -    -    -       0 2.micro




























1-3 of 3 by node   Enter: open  s: sort  /: find  f: state  ?: help  q: quit
"#,
    );
}

#[test]
fn a_node_with_its_tasks_and_events() {
    let mut model = model((80, 24));
    say(&mut model, Subject::Fleet, What::Whole(small()));
    press(&mut model, KeyCode::Enter);
    assert!(screen(&model).contains("asking the gateway"));
    say(&mut model, Subject::Node, What::Whole(a_node()));
    let event = |at_s: u64, text: &str| json!({ "seq": 1, "at_ms": AT - 1000 * at_s, "kind": "task", "severity": "warning", "text": text });
    say(
        &mut model,
        Subject::Events,
        What::Whole(json!({ "next": 9, "events": [event(90, "registered"), event(9, "a task failed")] })),
    );
    say(&mut model, Subject::Events, What::Event(event(0, "a task runs")));
    assert_screen(
        &model,
        r#"
micro top  127.0.0.1:5051  live                          2026-11-18 12:06:40 UTC
nodes 2 live of 3, 1 low battery   tasks 6 running, 1 starting
cpu [##======........] 0.37 used, 1.50 granted of 3.00   mailbox 3, oldest 65s
mem [====............] - used, 96K granted of 384K
node    0200000000000000  live
agent   m-S1  0.micro  board nrf52840dk
heard   3s ago, polls within 5 s   mailbox 0
power   mains   life -   link 98%, 0.4% lost of its own, 2 sent again
cpu     [##======........] 0.12/0.50/1.00 used/granted/all
mem     [##==............] 12K/32K/128K used/granted/all
 task               role     state     used/granted used/granted since     image
>blink-1            lights   running      0.06/0.25     5.9K/16K   10m 2.9K/4.9K
 blink-2            lights   staging      0.06/0.25     5.9K/16K   10m 2.9K/4.9K
 old                lights   finished     0.06/0.25     5.9K/16K   10m 2.9K/4.9K



 ago severity kind     what happened
  0s warning  task     a task runs
  9s warning  task     a task failed
 90s warning  task     registered


Esc: back   up, down: tasks   q: quit   ?: help
"#,
    );
    say(&mut model, Subject::Node, What::Gone);
    assert!(screen(&model).contains("GONE: the gateway does not know it any more"));
    press(&mut model, KeyCode::Esc);
    assert!(matches!(model.screen, Screen::Nodes));
    assert_eq!(model.wants().map(|(_, path)| path.is_some()), [true, false, false]);
}
